"""What the status socket answers to each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.errors import UnknownRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.runtime.report import Reporter, Threads

_MOST_TURNS = 100


class StatusDesk:
    """Answers `{"get": "status"}`, `metrics`, `prometheus` and, where turns are kept, `turns`. Called on the loop.

    Args:
        reporter: Makes the report.
        threads: Where Prometheus' library is loaded and works.
        describe: Returns the rest of the status: state, version, engines, counters and what else there is.
        turns: Returns the last so many turns, newest last; None where none are kept.
    """

    def __init__(
        self,
        reporter: Reporter,
        threads: Threads,
        describe: Callable[[], Mapping[str, Any]],
        turns: Callable[[int], list[dict[str, Any]]] | None = None,
    ) -> None:
        self._reporter = reporter
        self._threads = threads
        self._describe = describe
        self._turns = turns

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
            case {"get": "turns"} if self._turns is not None:
                return self._turns(_count(request.get("last", 10)))
            case _:
                known = ["status", "metrics", "prometheus", *(["turns"] if self._turns is not None else [])]
                raise UnknownRequestError(f'ask with {{"get": …}} for one of: {", ".join(known)}')

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


def _count(last: object) -> int:
    if not isinstance(last, int) or isinstance(last, bool) or not 1 <= last <= _MOST_TURNS:
        raise UnknownRequestError(f'"last" is a number from 1 to {_MOST_TURNS}')
    return last


def _info(status: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of what runs: the version, and each engine by its part."""
    engines = status.get("engines") or {}
    labels = {"version": status.get("version"), **engines}
    return {name: str(value) for name, value in labels.items() if value is not None}
