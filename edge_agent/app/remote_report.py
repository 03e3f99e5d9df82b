"""What is told of remote documents, in bounded form: config/reported."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from edge_agent.store.revisions import KeptError, Latest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from edge_agent.app.remote_layers import InForce
    from edge_agent.errors import ConfigProblem
    from edge_agent.store.revisions import RemoteState

_MOST_ERRORS = 20
_MOST_KEY = 120
_MOST_MESSAGE = 240


def report(state: RemoteState, standing: InForce, names: Iterable[str]) -> dict[str, Any]:
    """Return what is published under config/reported."""
    revisions: dict[str, int | None] = {"fleet": None, "group": None, "device": None}
    groups: dict[str, int] = {}
    for layer in standing.layers.values():  # the weakest first: of several groups the strongest is named
        revisions[layer.layer] = layer.revision
        if layer.layer == "group":
            groups[layer.group] = layer.revision
    latest = state.latest or Latest(outcome="applied")
    layer_name, _, own_name = latest.scope.partition("/")
    return {
        "revisions": revisions,
        "groups": groups,
        "outcome": latest.outcome,
        "errors": [{"key": error.key, "message": error.message} for error in latest.errors],
        "document": {
            "layer": layer_name,
            "group": own_name if layer_name == "group" else None,
            "revision": latest.revision,
        }
        if latest.scope
        else None,
        "refused": _not_taken(state, standing, latest, names),
        "hash": standing.hash,
        "at": latest.at or None,
    }


def _not_taken(state: RemoteState, standing: InForce, latest: Latest, names: Iterable[str]) -> dict[str, Any]:
    """Return by layer, and by name for groups, the newest revision that is not in force."""
    found: dict[str, Any] = {}
    for name in names:
        record, (layer, _, own_name) = state.record(name), name.partition("/")
        revision = record.refused.revision if record.refused is not None else 0
        if record.accepted is not None and name in standing.left_out:
            revision = max(revision, record.accepted.revision)
        if latest.scope == name and latest.outcome != "applied":
            revision = latest.revision or revision
        if revision and layer == "group":
            found.setdefault("group", {})[own_name] = revision
        elif revision:
            found[layer] = revision
    return found


def kept_errors(problems: Iterable[ConfigProblem], about: str = "") -> tuple[KeptError, ...]:
    """Return problems in bounded form; a source that is not the document `about` is named."""
    found = list(problems)
    errors = [
        KeptError(
            key=plain(problem.key, _MOST_KEY),
            message=plain(
                f"{problem.message} (from {problem.source})"
                if problem.source and about and problem.source != about
                else problem.message,
                _MOST_MESSAGE,
            ),
        )
        for problem in found[:_MOST_ERRORS]
    ]
    if len(found) > _MOST_ERRORS:
        errors.append(KeptError(key="", message=f"and {len(found) - _MOST_ERRORS} more"))
    return tuple(errors)


def plain(text: str, most: int) -> str:
    """Return `text` on one line, without what does not print, and not too long."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * most])
    line = " ".join(line.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def written(moment: datetime) -> str:
    """Return a time as RFC 3339."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
