"""A command is read whole: every wrong key is named at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from edge_agent.mqtt.command_args import COMMANDS, Command, TimerArgs, VolumeArgs
from edge_agent.mqtt.command_request import RequestError, read_request, schemas


def payload(args: dict[str, Any] | None = None, **more: object) -> bytes:
    """A command's payload with id `a`."""
    return json.dumps({"id": "a", "args": args or {}, **more}).encode()


def refused(name: str, sent: bytes) -> RequestError:
    """The error that a command is refused with."""
    with pytest.raises(RequestError) as caught:
        read_request(name, sent)
    return caught.value


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_the_documented_example_is_read(command: Command) -> None:
    """Each command takes its own example, and returns what it says it does."""
    request = read_request(command.name, payload(command.example))
    assert request.command is command
    assert request.args == command.args.model_validate(command.example)
    assert set(command.result) == set(command.returns)


def test_every_command_has_a_schema_with_described_keys() -> None:
    """The documentation is made of it."""
    for name, schema in schemas().items():
        assert schema["additionalProperties"] is False, name
        assert all(entry.get("description") for entry in schema.get("properties", {}).values()), name


def test_all_problems_are_told_at_once() -> None:
    """Of the command and of its arguments, each with its key and the nearest known name."""
    error = refused("volume", payload({"percent": 200, "persent": 1}, ID="a", expires_at="tomorrow"))
    assert error.code == "bad_request"
    assert error.request_id == "a"
    assert error.message.split("; ") == [
        "ID: unknown key",
        'did you mean "id"?',
        "args.percent: input should be less than or equal to 100 (is 200)",
        "args.persent: unknown key",
        'did you mean "percent"?',
    ]


@pytest.mark.parametrize(
    ("name", "args", "told"),
    [
        ("say", {}, "args.text: is missing: What is said."),
        ("say", {"text": " \n "}, "args.text: is blank"),
        ("say", {"text": "a\x07b"}, "args.text: holds control characters"),
        ("say", {"text": 5}, "args.text: input should be a valid string (is 5)"),
        ("say", {"text": "x" * 1001}, "args.text: string should have at most 1000 characters"),
        ("volume", {"percent": "40"}, "args.percent: input should be a valid integer (is '40')"),
        ("volume", {"percent": True}, "args.percent: input should be a valid integer (is True)"),
        ("volume", {"percent": 10**39}, "args.percent: "),
        ("mute", {"muted": 1}, "args.muted: input should be a valid boolean (is 1)"),
        ("stop", {"now": True}, "args.now: unknown key"),
        ("timer", {"action": "set"}, "args: `set` needs `seconds`"),
        ("timer", {"action": "cancel"}, "args: `cancel` needs `name`, `seconds` or `all`"),
        ("timer", {"action": "list", "all": True}, "args: `all` belongs to `cancel`"),
        ("timer", {"action": "set", "seconds": 0}, "args.seconds: input should be greater than 0 (is 0)"),
        ("timer", {"action": "set", "seconds": 1e300}, "args.seconds: input should be less than or equal to 604800"),
        ("timer", {"action": "sett"}, "args.action: input should be 'set', 'cancel' or 'list' (is 'sett')"),
        ("pull_model", {"name": "../../etc"}, "args.name: does not have the right form"),
    ],
)
def test_what_is_wrong_with_arguments_is_told(name: str, args: dict[str, Any], told: str) -> None:
    """Types are exact, ranges are kept, and contradictions are named."""
    assert refused(name, payload(args)).message.startswith(told)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[]", "is not a JSON object"),
        (b"{}", "id: is missing: 1 to 128 visible ASCII characters"),
        (b'{"id": 7}', "id: input should be a valid string (is 7)"),
        (b'{"id": ""}', "id: does not have the right form (is '')"),
        (b'{"id": "a b"}', "id: does not have the right form (is 'a b')"),
        (b'{"id": "a", "args": []}', "args: input should be a valid dictionary"),
        (b'{"id": "a", "id": "b"}', "says 'id' twice"),
        (b'{"id": "a", "args": {"x": NaN}}', "holds NaN"),
        (b'{"id": "a", "args": ' + b'{"x":' * 30 + b"1" + b"}" * 31, "is nested more than 8 deep"),
        (b'{"id": "a", "args": {"x": "' + b"y" * 20_000 + b'"}}', "is 20"),
    ],
)
def test_what_is_no_command_is_told(sent: bytes, told: str) -> None:
    """Whatever arrives is refused in words."""
    error = refused("stop", sent)
    assert error.code == "bad_request"
    assert told in error.message
    assert len(error.message) < 400


def test_many_problems_are_cut_short() -> None:
    """A payload full of unknown keys makes no message full of them."""
    message = refused("stop", payload({f"key-{number}" * 30: 1 for number in range(60)})).message
    assert message.endswith("and 40 more")
    assert len(message) < 3000


def test_an_unknown_command_is_told_what_was_meant() -> None:
    """With the id, so that its sender knows which one it was."""
    error = refused("volum", payload())
    assert (error.code, error.request_id) == ("unknown_command", "a")
    assert error.message == 'there is no command "volum"; did you mean "volume"?'


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31t12:00:00.25z", datetime(2030, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("2030-01-31T12:00:00+02:00", datetime(2030, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_a_deadline_is_a_point_in_time(text: str, instant: datetime) -> None:
    """As RFC 3339 writes it."""
    assert read_request("stop", payload(expires_at=text)).expires_at == instant


@pytest.mark.parametrize(
    "text",
    ["2030-01-31", "2030-01-31T12:00:00", "2030-13-31T12:00:00Z", "20300131T120000Z", "2030-W01-1T12:00:00Z", ""],
)
def test_a_deadline_without_zone_or_sense_is_refused(text: str) -> None:
    """The message shows how one looks."""
    assert refused("stop", payload(expires_at=text)).message.startswith("expires_at: is no date and time with a zone")


def test_numbers_may_be_written_either_way_where_that_means_the_same() -> None:
    """Seconds may be whole; a percentage is."""
    request = read_request("timer", payload({"action": "set", "seconds": 90}))
    assert isinstance(request.args, TimerArgs)
    assert request.args.seconds == 90.0
    assert VolumeArgs(percent=0).percent == 0
