"""A layer's complete document, and what an operator changes in it."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import BadInputError
from edge_agent.fleet.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_BYTES = 65_536
"""What a device takes of a document."""
MOST_TRUSTED_REVISION = 1 << 52
"""What others say is passed over only up to here: who may publish could leave no room for a higher revision."""


class _Unset:
    def __repr__(self) -> str:
        return "(not set)"


UNSET: Final = _Unset()
"""A key that a document does not hold."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One key to set, or to take out where `value` is `UNSET`; `text` is the value as it was written."""

    key: str
    value: Any
    text: str = ""

    @property
    def path(self) -> list[str]:
        """The key's parts."""
        return self.key.split(".")


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that two documents differ in; `UNSET` where one of them does not hold it."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Document:
    """What is retained for a layer; revision 0 and an empty patch where nothing is.

    Attributes:
        is_signed: It has a signature, whosever that is.
    """

    revision: int = 0
    patch: Mapping[str, Any] = field(default_factory=dict)
    is_signed: bool = False

    def with_edits(self, edits: Iterable[Edit], revision: int) -> Document:
        """Return the document that has them too; sections that become empty go.

        Raises:
            BadInputError: A key leads through something that is no section.
        """
        patch = json.loads(json.dumps(self.patch))
        for edit in edits:
            if edit.value is UNSET:
                _take_out(patch, edit.path)
            else:
                _put(patch, edit)
        return Document(revision, patch, self.is_signed)

    def equals(self, other: Document) -> bool:
        """Tell whether this is the same revision of the same patch, whoever signed it."""
        return self.revision == other.revision and not self.differences(other)

    def holds(self, edits: Iterable[Edit]) -> bool:
        """Tell whether all `edits` are made in this document."""
        return all(_same(self.value(edit.key), edit.value) for edit in edits)

    def touches(self, key: str) -> bool:
        """Tell whether this document has something to say about a key, in it or around it."""
        found: Any = self.patch
        for part in key.split("."):
            if not isinstance(found, dict):
                return True
            if part not in found:
                return False
            found = found[part]
        return found is not None

    def value(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return what stands under a key, a whole section too; `UNSET` where nothing does."""
        found: Any = self.patch
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                return UNSET
            found = found[part]
        return found

    def differences(self, other: Document) -> list[Difference]:
        """Return what changes from this document to the `other`, by key."""
        before, after = flat(self.patch), flat(other.patch)
        return [
            Difference(key, before.get(key, UNSET), after.get(key, UNSET))
            for key in sorted(before.keys() | after.keys())
            if not _same(before.get(key, UNSET), after.get(key, UNSET))
        ]


def edits_from(settings: Sequence[str], unset: Sequence[str]) -> list[Edit]:
    """Read `KEY=VALUE` and the keys to take out; `KEY=` and `KEY=null` take out too.

    A value is JSON, or else text as it stands.

    Raises:
        BadInputError: One has no `=`, or a key comes twice or holds another one.
    """
    edits: list[Edit] = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise BadInputError(f"{setting!r} is no KEY=VALUE; to take a key out, write {setting}=")
        value = _value(text) if text else None
        # A null in a layer sets nothing, and hides nothing that a weaker layer sets.
        edits.append(Edit(_checked_key(key.strip(), setting), UNSET if value is None else value, text))
    edits += [Edit(_checked_key(key.strip(), key), UNSET) for key in unset]
    keys = sorted(edit.key for edit in edits)
    for one, other in itertools.pairwise(keys):
        if other == one or other.startswith(f"{one}."):
            raise BadInputError(f"{one}: {'comes twice' if other == one else f'holds {other}, which comes too'}")
    return edits


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a tree's leaves by their dotted keys; an empty section is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        where = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            leaves |= flat(value, f"{where}.")
        else:
            leaves[where] = value
    return leaves


def shown(value: object, most: int = 60) -> str:
    """Write a value for a person, in one line."""
    return repr(value) if value is UNSET else plain(json.dumps(value, ensure_ascii=False), most)


def _checked_key(key: str, setting: str) -> str:
    if not all(part.strip() == part and part for part in key.split(".")):
        raise BadInputError(f"{setting!r}: {key!r} is no key; keys look like audio.volume")
    return key


def _value(text: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text


def _refuse_constant(name: str) -> Any:  # noqa: ANN401 - never returns
    raise ValueError(name)


def _put(patch: dict[str, Any], edit: Edit) -> None:
    *sections, last = edit.path
    tree = patch
    for at, part in enumerate(sections, start=1):
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            where = ".".join(sections[:at])
            raise BadInputError(f"{edit.key}: the document holds {shown(inner)} for {where}; take {where} out first")
        tree = inner
    tree[last] = edit.value


def _take_out(tree: dict[str, Any], path: Sequence[str]) -> None:
    first, *rest = path
    if not rest:
        tree.pop(first, None)
    elif isinstance(inner := tree.get(first), dict):
        _take_out(inner, rest)
        if not inner:
            del tree[first]


def _same(one: object, other: object) -> bool:
    """Compare as JSON does: 1 is not true, and 1.0 is 1."""
    if one is UNSET or other is UNSET:
        return one is other
    return isinstance(one, bool) == isinstance(other, bool) and one == other
