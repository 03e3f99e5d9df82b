"""What the status socket answers to each request."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from edge_agent.errors import UnknownRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.audio import AudioChunk
    from edge_agent.runtime.report import Reporter, Threads

_KNOWN = ("status", "metrics", "prometheus", "turns", "audio")
_MOST_TURNS = 100
"""In one answer."""


class StatusDesk:
    """Answers `{"get": "status"}`, `metrics`, `prometheus` and, where they are kept, `turns` and `audio`.

    Called on the loop.

    Args:
        reporter: Makes the report.
        threads: Where Prometheus' library is loaded and works, and audio is encoded.
        describe: Returns the rest of the status: state, version, engines, counters and what else there is.
        turns: Returns the last so many turns, newest last; None where none are kept.
        audio: Returns what was heard in a turn, or None where that turn's is not kept; None where no audio is kept.
    """

    def __init__(
        self,
        reporter: Reporter,
        threads: Threads,
        describe: Callable[[], Mapping[str, Any]],
        turns: Callable[[int], list[dict[str, Any]]] | None = None,
        audio: Callable[[int], AudioChunk | None] | None = None,
    ) -> None:
        self._reporter = reporter
        self._threads = threads
        self._describe = describe
        self._turns = turns
        self._audio = audio

    def __call__(self, request: dict[str, Any], /) -> object:
        """Return the data for `request`, or an awaitable of it.

        Raises:
            UnknownRequestError: It asks for what there is not.
        """
        match request:
            case {"get": "status"}:
                return self.status()
            case {"get": "metrics"}:
                return self._reporter.report().as_json()
            case {"get": "prometheus"}:
                return self._prometheus()
            case {"get": "turns"}:
                if self._turns is None:
                    raise UnknownRequestError("no turns are kept; set recorder.turns to 1 or more, and restart")
                return self._turns(_count(request.get("last", 10)))
            case {"get": "audio"}:
                if self._audio is None:
                    raise UnknownRequestError("no audio is kept; set recorder.audio_turns to 1 or more, and restart")
                return self._encoded(_turn_id(request.get("turn")), self._audio)
            case _:
                raise UnknownRequestError(f'ask with {{"get": …}} for one of: {", ".join(_KNOWN)}')

    def status(self) -> dict[str, Any]:
        """Return the status, the report included: what MQTT publishes and `edge-agent status` shows."""
        report = self._reporter.report()
        pressure = None if report.pressure is None else report.pressure.rung
        status = {"pressure": pressure, "uptime_s": report.uptime_s, **self._describe()}
        return {**status, "report": report.as_json()}

    async def _prometheus(self) -> str:
        report, info = self._reporter.report(), _info(self._describe())

        def render() -> str:
            from edge_agent.gateway.prometheus import as_prometheus

            return as_prometheus(report, info)

        return await self._threads.run(render, kind="prometheus")

    async def _encoded(self, turn: int, audio: Callable[[int], AudioChunk | None]) -> dict[str, Any]:
        """Return a turn's audio in text; 62 s, the most there can be, are 2.6 MB of it."""
        chunk = audio(turn)
        if chunk is None:
            raise UnknownRequestError(f"no audio of turn {turn} is kept; `audio_s` in a turn's record says of which")
        pcm = await self._threads.run(lambda: b64encode(chunk.pcm).decode("ascii"), kind="audio")
        return {"turn": turn, "rate_hz": chunk.rate_hz, "pcm_base64": pcm}


def _count(last: object) -> int:
    if not isinstance(last, int) or isinstance(last, bool) or not 1 <= last <= _MOST_TURNS:
        raise UnknownRequestError(f'"last" is a number from 1 to {_MOST_TURNS}')
    return last


def _turn_id(turn: object) -> int:
    if not isinstance(turn, int) or isinstance(turn, bool):
        raise UnknownRequestError('"turn" is the number of a turn')
    return turn


def _info(status: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of what runs: the version, and each engine by its part."""
    engines = status.get("engines") or {}
    labels = {"version": status.get("version"), **engines}
    return {name: str(value) for name, value in labels.items() if value is not None}
