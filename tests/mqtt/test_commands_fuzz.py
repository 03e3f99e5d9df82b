"""Whatever arrives as a command: no crash, one result or one line in the log for each, and memory stays flat."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import string
import tracemalloc
from typing import Any

import pytest
from controls_double import ControlsDouble
from doubles import until
from link_double import LinkDouble

from edge_agent.mqtt.command_args import COMMANDS
from edge_agent.mqtt.command_memory import CommandMemory
from edge_agent.mqtt.commands import Commands
from edge_agent.mqtt.link import Incoming
from edge_agent.mqtt.topics import Topics
from edge_agent.runtime.metrics import Metrics

TOPICS = Topics("kitchen")
_CODES = {
    None,
    "bad_request",
    "retained",
    "expired",
    "unknown_command",
    "busy",
    "unavailable",
    "failed",
    "interrupted",
    "timeout",
}
_WILD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    101,
    10**30,
    2**63,
    -(2**64),
    1.5,
    1e308,
    "",
    " ",
    "\x00",
    "ü" * 50,
    "\u202e",
    "🙂" * 30,
    "2030-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    [],
    [[[]]],
    {},
    {"a": {"b": {"c": 1}}},
    ["x"] * 50,
)
_RAW: tuple[bytes, ...] = (
    b"",
    b"\x00",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"NaN",
    b'{"id": NaN}',
    b'{"id": "a", "args": {"percent": Infinity}}',
    b'{"id": "a", "args": {"percent": 1e999}}',
    b'{"id": "a", "args": {"percent": ' + b"9" * 5000 + b"}}",
    b'{"id": "\\ud800"}',
    b"[" * 15_000,
    b'{"a":' * 3000,
    b'{"id": "a", ' + b'"k": 1, ' * 1500 + b'"args": {}}',
    '{"id": "a"}'.encode("utf-16"),
    b"\xef\xbb\xbf{}",
    b"\xc0\xaf" * 100,
    bytes(range(256)),
    b" " * 16_384,
    b"x" * 16_385,
)


def a_tree(rng: random.Random, depth: int = 0) -> object:
    """Any JSON value."""
    if depth > 5 or rng.random() < 0.6:
        return rng.choice(_WILD)
    if rng.random() < 0.5:
        return [a_tree(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {a_name(rng): a_tree(rng, depth + 1) for _ in range(rng.randrange(4))}


def a_name(rng: random.Random) -> str:
    """A key that may be known, nearly known or wild."""
    known = rng.choice(["id", "args", "expires_at", "text", "percent", "action", "seconds", "name", "muted", "all"])
    return rng.choice([known, known[:-1], known.upper(), "__proto__", "".join(rng.sample(string.printable, 8))])


def a_payload(rng: random.Random, name: str, number: int) -> bytes:
    """A valid command, one that was mutated in one to many places, or anything at all."""
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(_RAW)
    if kind < 0.2:
        return rng.randbytes(rng.randrange(300))
    if kind < 0.3:
        return json.dumps(a_tree(rng)).encode()
    command = COMMANDS.get(name)
    tree: dict[str, Any] = {"id": f"fuzz-{number % 700}", "args": dict(command.example) if command else {}}
    for _ in range(rng.randrange(3)):
        where = rng.choice([tree, tree["args"]]) if isinstance(tree.get("args"), dict) else tree
        where[rng.choice([*where, a_name(rng)]) if where else a_name(rng)] = a_tree(rng)
    payload = bytearray(json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode())
    for _ in range(rng.choice([0, 0, 1, 5])):
        payload[rng.randrange(len(payload))] = rng.randrange(256)
    return bytes(payload[: rng.choice([len(payload), len(payload), rng.randrange(1, len(payload) + 1)])])


def a_message(rng: random.Random, number: int) -> Incoming:
    """A message that `command/+` matches, or does not."""
    wild = ["", "x" * 65, "a b", "+", "#", "\x00", "..", "sáy", "SAY", "sayy", "command", "result"]
    name = rng.choice([*COMMANDS, *wild]) if rng.random() < 0.3 else rng.choice(list(COMMANDS))
    topic = f"{TOPICS.root}/command/{name}"
    response = rng.choice(
        [None, None, "replies/me", "x/#", "$SYS/x", f"{TOPICS.root}/command/say", "", "\ud800", "y" * 65_000]
    )
    correlation = rng.choice([None, b"", rng.randbytes(16), bytes(2000)])
    properties = tuple(
        (rng.choice(["sender", "x"]), rng.choice(["", "me", "z" * 60_000])) for _ in range(rng.randrange(3))
    )
    return Incoming(
        topic,
        a_payload(rng, name, number) or b" ",
        rng.randrange(3),
        rng.random() < 0.05,
        response,
        correlation,
        properties,
    )


class SteadyClock:
    """Goes on by three seconds a message: slowly enough that nothing is held back."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now_s


async def run_round(
    commands: Commands, link: LinkDouble, log: list[str], rng: random.Random, clock: SteadyClock
) -> None:
    """Send a thousand messages, and check that each one was answered or logged, once."""
    for number in range(1000):
        clock.now_s += 3.0
        link.published.clear()
        log.clear()
        commands.receive(a_message(rng, number))
        await until(lambda: link.published or log)
        for _ in range(12):
            await asyncio.sleep(0)
        assert len(link.published) == 1 or (not link.published and len(log) == 1), (link.published, log)
        for message in link.published:
            result = message.data
            assert set(result) == {"id", "ok", "error", "data"}
            code = (result["error"] or {}).get("code")
            assert code in _CODES
            assert result["ok"] is (code is None)
            assert len(message.payload) < 4096
            assert message.topic == "replies/me" or message.topic.endswith("/result")


@pytest.mark.slow
async def test_a_thousand_random_and_mutated_payloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deep, long, wrong in type and encoding, under wild names, with wild response topics; three rounds."""
    link, controls = LinkDouble(), ControlsDouble()
    clock = SteadyClock()
    log: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                log.append(record.getMessage())
                assert len(record.getMessage()) < 500
                assert record.exc_info is None

    memory = CommandMemory(None, log.append)
    commands = Commands(link, TOPICS, controls, memory, Metrics(clock), per_minute=6000)
    logger, handler = logging.getLogger("edge_agent.mqtt"), Lines()
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "propagate", False)  # pytest would keep every line
    running = asyncio.create_task(commands.run_loop(), name="commands")
    rng = random.Random(20260301)
    used: list[int] = []
    tracemalloc.start()
    try:
        for _ in range(3):
            await run_round(commands, link, log, rng, clock)
            controls.calls.clear()
            link.published.clear()
            gc.collect()
            used.append(tracemalloc.get_traced_memory()[0])
        assert not running.done()
    finally:
        tracemalloc.stop()
        logger.removeHandler(handler)
        running.cancel()
        await asyncio.wait({running})
    assert used[2] - used[1] < 256 * 1024, used
