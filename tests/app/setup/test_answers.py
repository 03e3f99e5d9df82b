"""What people type, and what it means."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge_agent.app.setup.answers import (
    Answers,
    Broker,
    flag_conflict,
    parse_groups,
    parse_language,
    parse_name,
    parse_pin,
    parse_volume,
    parse_words,
)
from edge_agent.app.setup.broker_address import BrokerAddress, parse_broker
from edge_agent.app.setup.errors import BadAnswerError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("none", BrokerAddress("")),
        ("broker.example", BrokerAddress("broker.example")),
        ("broker.example:1884", BrokerAddress("broker.example", 1884)),
        ("broker.example:8883", BrokerAddress("broker.example", 8883, tls=True)),
        ("mqtts://me@broker.example", BrokerAddress("broker.example", None, tls=True, username="me")),
        ("mqtt://a%40b@10.0.0.1:1883/", BrokerAddress("10.0.0.1", 1883, tls=False, username="a@b")),
        ("mqtt://[fe80::1]:1883", BrokerAddress("fe80::1", 1883, tls=False)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_brokers_as_people_write_them(text: str, address: BrokerAddress) -> None:
    """By name, address or URL; and what is shown is read again as the same."""
    assert parse_broker(text) == address
    if address.tls is not None:
        assert parse_broker(str(address)).host == address.host


@pytest.mark.parametrize(
    "text", ["http://x", "a b", "mqtt://x:99999", "mqtt://x:0", "x/y", "mqtt://", "mqtt://u:geheim@x", "[::1"]
)
def test_what_is_no_broker_is_refused_in_a_line_without_secrets(text: str) -> None:
    """A password in the address is not repeated."""
    with pytest.raises(BadAnswerError) as caught:
        parse_broker(text)
    assert "\n" not in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("parse", "good", "value", "bad"),
    [
        (parse_volume, " 60 % ", 60, ["", "101", "-1", "loud", "٣٣٣"]),
        (parse_language, "DE", "de", ["english", "", "d", "1"]),
        (parse_words, "alexa, okay_nabu alexa", ("okay_nabu", "alexa"), ["", "computer"]),
        (parse_pin, "17", 17, ["54", "GPIO17", ""]),
        (parse_name, " kitchen-1 ", "kitchen-1", ["", "küche", "a b", "x" * 65]),
        (parse_groups, "a, b,a", ("a", "b"), ["a/b", ",".join(map(str, range(17)))]),
    ],
    ids=["volume", "language", "words", "pin", "name", "groups"],
)
def test_answers(parse: Callable[[str], object], good: str, value: object, bad: list[str]) -> None:
    """Spaces and case are forgiven; what can't be meant is refused."""
    assert parse(good) == value
    for text in bad:
        with pytest.raises(BadAnswerError):
            parse(text)


def test_no_group_is_an_answer() -> None:
    """By its word, or by nothing."""
    assert parse_groups("none") == parse_groups("") == ()


def test_a_broker_is_all_of_its_keys() -> None:
    """The usual port is not written; no broker leaves the rest of its section alone."""
    changes = Answers(broker=Broker("b", 8883, tls=True, username="u", ca_file="")).changes()
    assert changes == {
        ("mqtt", "host"): "b",
        ("mqtt", "port"): None,
        ("mqtt", "username"): "u",
        ("mqtt", "tls", "enabled"): True,
        ("mqtt", "tls", "ca_file"): None,
    }
    assert Answers(broker=Broker()).changes() == {("mqtt", "host"): ""}
    assert Answers(broker=Broker("b", 1884)).changes()["mqtt", "port"] == 1884


def test_a_password_is_in_no_key_and_not_shown() -> None:
    """Neither in the changes nor in what is printed of the answers."""
    answers = Answers(password="geheim", volume=3)
    assert answers.changes() == {("audio", "volume"): 3}
    assert "geheim" not in repr(answers)


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"mode": "always", "words": ("alexa",)}, "--wake-word needs --mode wake_word"),
        ({"mode": "wake_word", "button_pin": 3}, "--button-pin needs --mode button"),
        ({"broker": BrokerAddress(""), "has_password": True}, "need a broker"),
        ({"broker": BrokerAddress("b", tls=False), "ca_file": "x"}, "--ca is for TLS"),
        ({"mode": "wake_word", "words": ("alexa",), "broker": BrokerAddress("b"), "has_password": True}, ""),
    ],
    ids=["word", "pin", "no broker", "no TLS", "well"],
)
def test_options_that_exclude_each_other(given: dict[str, object], refused: str) -> None:
    """Are refused by name."""
    assert (refused in flag_conflict(given)) if refused else not flag_conflict(given)
