"""JSON from anybody."""

from __future__ import annotations

import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.mqtt.payload import PayloadError, read_json

MOST = 100_000


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "is not JSON"),
        (b"\xff{}", "is not UTF-8: byte 0 is wrong"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b"[]", "is not a JSON object but an array"),
        (b"null", "but null"),
        (b"true", "but true or false"),
        (b'"a"', "but a string"),
        (b"1", "but a number"),
        (b'{"a": NaN}', "holds NaN"),
        (b'{"a": -Infinity}', "holds -Infinity"),
        (b'{"a": 1e999}', "too large a number"),
        (b'{"a": 1, "a": 2}', "says 'a' twice"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "says 'a' twice"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        (b'{"a": ' + b"9" * 50 + b"}", "more than 40 digits"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, "nested more than 16 deep"),
        (b"[" * 90_000, "nested more than 16 deep"),
        (b'{"a": [' + b"1," * 20_000 + b"1]}", "more than 10000 items"),
        (b'{"a": "' + b"x" * MOST + b'"}', "at most 100000 are read"),
        (b'{"a": 1} {"b": 2}', "is not JSON: Extra data"),
        (b'{"a": "unterminated', "is not JSON"),
    ],
)
def test_what_is_wrong_is_said(payload: bytes, reason: str) -> None:
    """Each in one line."""
    with pytest.raises(PayloadError, match=reason) as caught:
        read_json(payload, most_bytes=MOST)
    assert "\n" not in str(caught.value)


def test_what_is_right_is_read() -> None:
    """Brackets, commas and quotes within strings count for nothing, pairs of surrogates are characters."""
    value = {"a": '[{,"\\' * 50, "b": [1, 2.5, None, True], "c": "\U0001f600é"}
    assert read_json(json.dumps(value).encode(), most_bytes=MOST, most_items=10) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode(), most_bytes=MOST) == value


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    """Nothing else is ever raised."""
    reason = ""
    value: object = None
    try:
        value = read_json(payload, most_bytes=200)
    except PayloadError as error:
        reason = str(error)
    assert reason or isinstance(value, dict)
    assert json.dumps(value, ensure_ascii=False).encode()


@given(st.recursive(st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=9), st.lists))
def test_whatever_json_writes_comes_back(value: object) -> None:
    """As long as it is within the bounds, and holds whole characters."""
    payload = json.dumps({"value": value}).encode()
    reason = ""
    try:
        assert read_json(payload, most_bytes=MOST) == {"value": value}
    except PayloadError as error:
        reason = str(error)
    assert not reason or "surrogate" in reason or "nested" in reason


def test_mutated_documents_are_read_or_refused() -> None:
    """A thousand of them, with bytes flipped, cut, doubled and swapped."""
    rng = random.Random(7)
    seed = json.dumps({"revision": 7, "patch": {"audio": {"volume": 0.5}, "llm": None}, "x": ["é", "\\", '"']}).encode()
    refused = 0
    for _ in range(1000):
        payload = bytearray(seed)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(payload))
            match rng.randrange(4):
                case 0:
                    payload[at] = rng.randrange(256)
                case 1:
                    del payload[at:]
                case 2:
                    payload[at:at] = payload[: rng.randrange(40)]
                case _:
                    payload[at:at] = rng.choice([b"[" * 50, b"{", b'"', b"\\u", b"\xff", b"1e9999", b"NaN"])
            payload = payload or bytearray(b"{")
        try:
            read_json(bytes(payload), most_bytes=MOST)
        except PayloadError:
            refused += 1
    assert 800 < refused < 1000


def test_nothing_takes_quadratic_time() -> None:
    """What costs most for its size is read or refused before a turn would notice."""
    began_s = time.process_time()
    for part in (b'"', b"\\", b'\\"', b"9", b"[]", b"{}", b'"",', b"-", b"e", b"\\u0041"):
        with pytest.raises(PayloadError):
            read_json(b'{"a":' + part * (60_000 // len(part)), most_bytes=MOST)
    assert time.process_time() - began_s < 5
