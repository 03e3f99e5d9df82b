"""Results go where nothing can take them for anything else, and get there if the broker comes back in time."""

from __future__ import annotations

import asyncio

import pytest
from doubles import until
from link_double import LinkDouble

from edge_agent.mqtt.controls import CommandError
from edge_agent.mqtt.reply import Replies, ReplyAddress, refusal, reply_address, result_of
from edge_agent.mqtt.sending import Connected

DEFAULT = "edge-agent/kitchen/command/say/result"


@pytest.mark.parametrize("topic", ["replies/me", "a", "clients/x/y", "commands/x", "homeassistantx/y", "my config/y"])
def test_a_response_topic_of_the_sender_is_used(topic: str) -> None:
    """With the correlation data that came with it."""
    assert reply_address(DEFAULT, topic, b"\x00", "homeassistant") == ReplyAddress(topic, b"\x00")


def test_without_a_response_topic_the_result_goes_below_the_command() -> None:
    """Also where the sender names just that."""
    assert reply_address(DEFAULT, None, None, "homeassistant") == ReplyAddress(DEFAULT)
    assert reply_address(DEFAULT, DEFAULT, b"1", "homeassistant") == ReplyAddress(DEFAULT, b"1")


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "edge-agent/kitchen/command/say",
        "edge-agent/other/command/say/result",
        "edge-agent/kitchen/availability",
        "edge-agent",
        "edge-agent-fleet/config/desired",
        "edge-agent-fleet/x",
        "other/command/say",
        "other/Command/say",
        "zigbee/config",
        "config/x",
        "$SYS/broker",
        "$share/a/b",
        "homeassistant/device/kitchen/config",
        "homeassistant/status",
        "replies/#",
        "replies/+/x",
        "replies/\x00",
        "replies/\u200b",
        "x" * 257,
        "ü" * 129,
    ],
)
def test_a_response_topic_that_could_command_somebody_is_refused(topic: str) -> None:
    """Controls, configurations, discovery, the broker's own, wildcards, and what nobody could read."""
    with pytest.raises(CommandError, match="the response topic") as caught:
        reply_address(DEFAULT, topic, None, "homeassistant")
    assert caught.value.code == "bad_request"


def test_long_correlation_data_is_refused() -> None:
    """It is kept with the command."""
    with pytest.raises(CommandError, match="1024 bytes"):
        reply_address(DEFAULT, "replies/me", bytes(1025), "homeassistant")


def test_a_result_is_never_too_long() -> None:
    """What would be is told to have been done."""
    assert len(result_of("a", {"reply": "x" * 70_000})) < 300


async def test_results_wait_for_the_broker_and_keep_their_order() -> None:
    """At most 64; the oldest is given up first."""
    link = LinkDouble(is_connected=False)
    replies = Replies(link, Connected(link))
    sent = [replies.send(ReplyAddress("replies/me"), refusal(str(number), "busy", "")) for number in range(70)]
    sending = asyncio.create_task(replies.send_loop())
    await asyncio.sleep(0)
    link.set_connected(True)
    await until(sent[-1].settled.is_set)
    assert [message.data["id"] for message in link.published] == [str(number) for number in range(6, 70)]
    assert (replies.lost, sent[0].was_sent, sent[-1].was_sent) == (6, False, True)
    sending.cancel()
    await asyncio.wait({sending})


async def test_a_topic_that_the_broker_refuses_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three attempts its result is given up."""
    monkeypatch.setattr("edge_agent.mqtt.reply._AGAIN_S", 0.0)
    link = LinkDouble()
    link.refused.add("replies/forbidden")
    replies = Replies(link, Connected(link))
    refused = replies.send(ReplyAddress("replies/forbidden"), b"{}")
    allowed = replies.send(ReplyAddress("replies/me", b"7"), b"{}")
    sending = asyncio.create_task(replies.send_loop())
    await until(allowed.settled.is_set)
    assert (refused.was_sent, refused.attempts, allowed.was_sent) == (False, 3, True)
    assert [(message.topic, message.correlation_data, message.qos) for message in link.published] == [
        ("replies/me", b"7", 1)
    ]
    sending.cancel()
    await asyncio.wait({sending})


async def test_a_result_that_nobody_waits_for_any_more_is_given_up() -> None:
    """After five minutes without a broker."""
    now_s = 0.0
    link = LinkDouble(is_connected=False)
    replies = Replies(link, Connected(link), lambda: now_s)
    old = replies.send(ReplyAddress("replies/me"), b"{}")
    now_s = 301.0
    new = replies.send(ReplyAddress("replies/me"), b"[]")
    sending = asyncio.create_task(replies.send_loop())
    link.set_connected(True)
    await until(new.settled.is_set)
    assert (old.was_sent, new.was_sent) == (False, True)
    sending.cancel()
    await asyncio.wait({sending})
