"""Documents and what is changed in them."""

from __future__ import annotations

import pytest

from edge_agent.errors import BadInputError
from edge_agent.fleet.check import check_edits, doubts
from edge_agent.fleet.document import UNSET, Difference, Document, Edit, edits_from
from edge_agent.fleet.errors import SettingsError


def test_values_are_json_or_text() -> None:
    """What is no JSON is meant as it stands."""
    edits = edits_from(["a.b=0.5", "c=true", 'd=["x"]', "e=hello world", 'f="1"', "g=NaN"], [])
    assert [edit.value for edit in edits] == [0.5, True, ["x"], "hello world", "1", "NaN"]


def test_nothing_and_null_take_a_key_out() -> None:
    """A null in a layer would set nothing anyway."""
    assert [edit.value for edit in edits_from(["a=", "b=null"], ["c"])] == [UNSET, UNSET, UNSET]


@pytest.mark.parametrize("settings", [["novalue"], ["=1"], ["a..b=1"], ["a=1", "a=2"], ["a=1", "a.b=2"]])
def test_what_is_ambiguous_is_refused(settings: list[str]) -> None:
    """Each mistake is bad input."""
    with pytest.raises(BadInputError):
        edits_from(settings, [])


def test_edits_are_merged_and_empty_sections_go() -> None:
    """The rest of a document stays as it is, and the original too."""
    before = Document(3, {"audio": {"volume": 40}, "log_level": "info"})
    after = before.with_edits([Edit("audio.volume", UNSET), Edit("tts.piper.voice", "x")], 4)
    assert after == Document(4, {"log_level": "info", "tts": {"piper": {"voice": "x"}}})
    assert before.patch["audio"] == {"volume": 40}
    assert before.differences(after) == [
        Difference("audio.volume", 40, UNSET),
        Difference("tts.piper.voice", UNSET, "x"),
    ]


def test_true_is_not_one() -> None:
    """JSON tells them apart, and so must a comparison."""
    assert not Document(1, {"a": 1}).holds([Edit("a", value=True)])
    assert Document(1, {"a": 1}).holds([Edit("a", 1.0)])


def test_a_section_in_the_way_is_named() -> None:
    """A key can't lead through a plain value."""
    with pytest.raises(BadInputError, match="for audio; take audio out first"):
        Document(1, {"audio": 5}).with_edits([Edit("audio.volume", 1)], 2)


@pytest.mark.parametrize(
    ("patch", "key", "touches"),
    [
        ({"a": {"b": 1}}, "a.b", True),
        ({"a": {"b": 1}}, "a.c", False),
        ({"a": 5}, "a.b", True),
        ({"a": {"b": 1}}, "a", True),
        ({"a": {"b": None}}, "a.b", False),
    ],
)
def test_touches_tells_what_a_layer_hides(patch: dict[str, object], key: str, *, touches: bool) -> None:
    """A key is hidden by itself, by what it is in, and by what is in it."""
    assert Document(1, patch).touches(key) is touches


def test_all_problems_are_found_at_once() -> None:
    """Unknown, protected and of the wrong type, a line for each."""
    with pytest.raises(SettingsError) as caught:
        check_edits(edits_from(["audio.volum=1", "mqtt.host=x", "audio.volume=loud"], []))
    assert len(caught.value.problems) == 3


def test_a_number_is_a_text_where_the_schema_wants_one() -> None:
    """Who sets a text of digits need not know about quotes."""
    (edit,) = check_edits(edits_from(["home_assistant.name=12"], []))
    assert edit.value == "12"


def test_what_other_keys_may_mend_is_only_doubted() -> None:
    """Thresholds must rise, but the device may have others in its own file."""
    edits = check_edits(edits_from(["pressure.warm_c=94"], []))
    assert doubts(Document().with_edits(edits, 1).patch) == [
        "pressure: temperatures must rise: warm_c < hot_c < critical_c"
    ]
