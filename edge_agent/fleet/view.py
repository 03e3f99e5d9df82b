"""What an operator knows: devices, and the documents that are retained for layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.fleet.document import MOST_TRUSTED_REVISION, Document
from edge_agent.fleet.errors import UnusableDocumentError
from edge_agent.fleet.registry import Registry
from edge_agent.fleet.sealing import Sealer
from edge_agent.fleet.session import MARKERS
from edge_agent.fleet.target import Target, is_name
from edge_agent.mqtt.topics import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.fleet.document import Edit
    from edge_agent.fleet.registry import Change
    from edge_agent.fleet.session import Heard


class FleetView:
    """Is given every message; keeps documents only of layers that are followed.

    Args:
        clock: Seconds since 1970.
        sealer: Reads documents.
    """

    def __init__(self, clock: Callable[[], float], sealer: Sealer | None = None) -> None:
        self.registry = Registry()
        self._sealer = sealer or Sealer()
        self._clock = clock
        self._documents: dict[str, tuple[Target, Document | UnusableDocumentError]] = {}
        self._listeners: dict[str, Callable[[Document], None]] = {}
        self._edits: Sequence[Edit] = ()
        self.holding: set[str] = set()
        self.overriding: set[str] = set()

    def follow(self, target: Target) -> None:
        """Keep this layer's document from now on."""
        self._documents.setdefault(target.topic, (target, Document()))

    def look_for(self, edits: Sequence[Edit]) -> None:
        """Sort devices by their own documents: `holding` these settings, or `overriding` one of the keys otherwise."""
        self._edits = edits

    def document(self, target: Target) -> Document:
        """Return a followed layer's document.

        Raises:
            UnusableDocumentError: What is retained is none.
        """
        _, found = self._documents[target.topic]
        if isinstance(found, UnusableDocumentError):
            raise found
        return found

    def forget(self, target: Target) -> None:
        """Take what is retained for a followed layer for an empty document of the same revision.

        Where that is a stranger's, or none, its revision counts only within reason.
        """
        _, found = self._documents[target.topic]
        is_usable = isinstance(found, Document) or found.revision <= MOST_TRUSTED_REVISION
        self._documents[target.topic] = (target, Document(found.revision if is_usable else 0))

    def listen(self, target: Target, listener: Callable[[Document], None] | None) -> None:
        """Hand each document of a followed layer to `listener`, from now on; None: no longer."""
        if listener is None:
            self._listeners.pop(target.topic, None)
        else:
            self._listeners[target.topic] = listener

    def take(self, heard: Heard) -> None:
        """Take a message in, whatever it changes."""
        self.hear(heard)

    def hear(self, heard: Heard) -> Change | None:
        """Take a message in; return what it changed of a device."""
        if heard.topic.startswith(MARKERS):
            return None
        if heard.topic.endswith("/config/desired"):
            self._hear_document(heard)
            return None
        return self.registry.hear(heard.topic, heard.payload, is_retained=heard.is_retained, at_s=self._clock())

    def _hear_document(self, heard: Heard) -> None:
        followed = self._documents.get(heard.topic)
        device = heard.topic.split("/")[1]
        is_sorted = bool(self._edits) and heard.topic == f"{ROOT}/{device}/config/desired" and is_name(device)
        if followed is None and not is_sorted:
            return
        target = followed[0] if followed is not None else Target("device", device)
        found: Document | UnusableDocumentError
        try:
            found = self._sealer.open(heard.payload, target)
        except UnusableDocumentError as error:
            found = error
        if is_sorted:
            self._sort(device, found)
        if followed is not None:
            self._documents[heard.topic] = (target, found)
            listener = self._listeners.get(heard.topic)
            if listener is not None and isinstance(found, Document):
                listener(found)

    def _sort(self, device: str, found: Document | UnusableDocumentError) -> None:
        self.holding.discard(device)
        self.overriding.discard(device)
        if isinstance(found, UnusableDocumentError):
            self.overriding.add(device)  # nobody knows what it means; it is no canary
        elif found.holds(self._edits):
            self.holding.add(device)
        elif any(found.touches(edit.key) for edit in self._edits):
            self.overriding.add(device)
