"""A real mosquitto on a loopback port: a plugin, so that any test may ask for `broker`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from edge_agent.bench.mosquitto import BrokerTls, Mosquitto

__all__ = ["Broker", "BrokerTls", "MakeBroker"]


T = TypeVar("T")


class Broker:
    """A mosquitto that can be stopped, frozen and started on the same ports; for tests with and without a loop."""

    def __init__(self, directory: Path, **settings: Any) -> None:  # noqa: ANN401 - they are handed on
        self._broker = _beside(lambda: Mosquitto(directory, **settings))
        self.port = self._broker.port
        self.tls_port = self._broker.tls_port

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._broker.pid

    def start(self) -> None:
        """Start, and return when it listens."""
        _beside(self._broker.start)

    def stop(self) -> None:
        """End it, as if its power was cut."""
        _beside(self._broker.stop)

    def terminate(self) -> None:
        """Let it shut down."""
        _beside(self._broker.terminate)

    def freeze(self) -> None:
        """Let it answer nothing, with all connections open."""
        self._broker.freeze()

    def thaw(self) -> None:
        """Let it go on."""
        self._broker.thaw()

    def save(self) -> None:
        """Have sessions and messages written to the file."""
        _beside(self._broker.save)


def _beside(call: Callable[[], T]) -> T:
    """Make a blocking call of the package where the test's own loop runs: it is watched for such calls."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


MakeBroker = Callable[..., Broker]
"""Takes the arguments of `Mosquitto`, without the directory."""


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[MakeBroker]:
    """Makes brokers that are not started yet."""
    if not Mosquitto.is_installed():
        pytest.skip("mosquitto is not installed")
    made: list[Broker] = []

    def make(**settings: Any) -> Broker:  # noqa: ANN401 - they are handed on
        directory = tmp_path / f"broker-{len(made)}"
        directory.mkdir()
        made.append(Broker(directory, **settings))
        return made[-1]

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def broker(make_broker: MakeBroker) -> Broker:
    """A broker that is not started yet; anybody may connect."""
    return make_broker()
