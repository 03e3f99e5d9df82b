"""Topics and filters."""

from __future__ import annotations

import pytest

from edge_agent.mqtt.topics import Topics, matches


def test_topics_are_as_documented() -> None:
    """They are a contract that other people script against."""
    topics = Topics("kitchen", ("downstairs", "pilot"))
    assert topics.availability == "edge-agent/kitchen/availability"
    assert topics.reported == "edge-agent/kitchen/config/reported"
    assert topics.event("order") == "edge-agent/kitchen/event/order"
    assert topics.result("say") == "edge-agent/kitchen/command/say/result"
    assert dict(topics.desired()) == {
        "edge-agent-fleet/config/desired": ("fleet", ""),
        "edge-agent-fleet/group/downstairs/config/desired": ("group", "downstairs"),
        "edge-agent-fleet/group/pilot/config/desired": ("group", "pilot"),
        "edge-agent/kitchen/config/desired": ("device", ""),
    }
    assert list(topics.desired().values())[-1] == ("device", "")


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "x" * 65, "é", "a\0"])
def test_a_name_is_one_level(name: str) -> None:
    """Else it could reach another device's topics."""
    with pytest.raises(ValueError, match="one level of a topic"):
        Topics("kitchen").event(name)
    with pytest.raises(ValueError, match="one level of a topic"):
        Topics(name)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "is_match"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/b/d", False),
        ("a/+", "a/b/c", False),
        ("a/+", "a/", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a", "a/b", False),
        ("a/b", "a", False),
    ],
)
def test_filters_match_as_mqtt_says(topic_filter: str, topic: str, is_match: bool) -> None:
    """Section 4.7 of the standard, its examples included."""
    assert matches(topic_filter, topic) is is_match
