"""One layer's document is changed while others may change it too: pure, fed with what the broker hands back.

    read ──▶ publish ──▶ ours comes back ──▶ quiet for a moment: it stands
                │              ▲     │
        theirs comes first     │     └─ theirs comes after: the other, who sees ours first, adds it to theirs and
                │              │        publishes again; without that within a grace ours is lost
                └─ both in one, again

Whoever published second has overwritten the first, sees that, and mends it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.fleet.document import Document, Edit

SETTLE_S = 0.3
"""How long the document that came back has to stand."""
GRACE_S = 2.0
"""How long the other has for putting both changes into one document."""
_MOST_ATTEMPTS = 5


class Standing(Enum):
    """How far the change is."""

    PUBLISHED = "published"
    BACK = "back"
    STANDS = "stands"
    LOST = "lost"


class Editing:
    """Brings `edits` into a document.

    Args:
        edits: What is to be changed.
        before: The document that is retained.
        floor: A revision that devices have of this layer; the new one is larger.
    """

    def __init__(self, edits: Sequence[Edit], before: Document, *, floor: int = 0) -> None:
        self.edits = edits
        self._attempts = 1
        self._overwritten: Document | None = None
        self._replaced: list[Document] = []
        self._changed_s = 0.0
        self.before = before
        self.document = before.with_edits(edits, max(before.revision, floor) + 1)
        self.standing = Standing.PUBLISHED

    @property
    def is_change(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.before.differences(self.document))

    def published(self, now_s: float) -> None:
        """Be told that `document` was published."""
        self.standing = Standing.PUBLISHED
        self._changed_s = now_s

    def hear(self, document: Document, now_s: float) -> Document | None:
        """Look at what came from the layer's topic; return a document to publish now, or None."""
        self._changed_s = now_s
        if self.standing is Standing.PUBLISHED:
            if not document.equals(self.document):
                # Where subscriptions overlap a broker may hand over a message twice.
                if not any(document.equals(one) for one in self._replaced):
                    self._overwritten = document
                return None
            overwritten, self._overwritten = self._overwritten, None
            if overwritten is None or self._attempts >= _MOST_ATTEMPTS:
                self.standing = Standing.BACK
                return None
            self._attempts += 1
            self._replaced += [self.document, overwritten]
            revision = max(overwritten.revision, self.document.revision) + 1
            self.document = overwritten.with_edits(self.edits, revision)
            return self.document
        if document.holds(self.edits):
            self.document = document
            self.standing = Standing.BACK
        else:
            self.standing = Standing.LOST
            self._overwritten = document
        return None

    def is_over(self, now_s: float) -> bool:
        """Tell whether nothing more is to be waited for, and make BACK to STANDS."""
        if self.standing is Standing.BACK and now_s >= self._changed_s + SETTLE_S:
            self.standing = Standing.STANDS
        if self.standing is Standing.LOST:
            return now_s >= self._changed_s + GRACE_S
        return self.standing is Standing.STANDS

    @property
    def theirs(self) -> Document | None:
        """What stands instead."""
        return self._overwritten
