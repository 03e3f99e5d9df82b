"""What is remembered of remote documents: how each verdict changes the state. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.store.revisions import Accepted, KeptError, Latest, LayerRecord, Refused, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_agent.config.layers import RemoteLayer
    from edge_agent.mqtt.desired import Desired
    from edge_agent.store.revisions import Outcome, RemoteState

MOST_ATTEMPTS = 2
"""A change during which the device stops may be innocent: a plug was pulled. Twice is no chance."""
MOST_STARTS = 5
"""Starts in a row that end within a minute, and not by anybody's order, before remote documents are left out of one.

More than mains that come back in jerks usually make.
"""
_MOST_LEFT_GROUPS = 32
"""Groups that the device has left whose last revision is remembered, against old documents."""


def known_already(record: LayerRecord, desired: Desired) -> str | None:
    """Compare a document with what was judged before: None: it is to be judged; empty: it is known; else: why not."""
    revision = desired.revision
    if record.accepted is not None and record.accepted.revision == revision:
        if record.accepted.digest == desired.digest:
            return ""
        return f"revision {revision} is in force with another content; a change needs a higher revision"
    if record.refused is not None and record.refused.revision == revision:
        if record.refused.digest == desired.digest:
            return ""
        return f"revision {revision} was refused with another content; a change needs a higher revision"
    if revision < record.seen:
        return f"revision {revision} is older than {record.seen}, which was here before; use a higher one"
    return None


def begun(state: RemoteState, name: str, desired: Desired) -> Trial:
    """Return the record of a document that is about to be tried."""
    before = state.trial
    is_same = before is not None and (before.scope, before.revision, before.digest) == (
        name,
        desired.revision,
        desired.digest,
    )
    attempts = before.attempts + 1 if before is not None and is_same else 1
    return Trial(scope=name, revision=desired.revision, digest=desired.digest, attempts=attempts)


def refused(
    state: RemoteState, name: str, revision: int, digest: str, *, outcome: Outcome, errors: Sequence[KeptError], at: str
) -> RemoteState:
    """Return the state in which a document is not tried again."""
    record = state.record(name)
    verdict = Refused(revision=revision, digest=digest, outcome=outcome, errors=tuple(errors))
    latest = Latest(outcome=outcome, scope=name, revision=revision, errors=tuple(errors), at=at)
    record = record.model_copy(update={"refused": verdict, "seen": max(record.seen, revision)})
    return state.with_record(name, record, trial=None, latest=latest)


def accepted(state: RemoteState, name: str, desired: Desired, signed_by: str, at: str) -> RemoteState:
    """Return the state in which a document is in force."""
    document = Accepted(revision=desired.revision, patch=desired.patch, digest=desired.digest, signed_by=signed_by)
    latest = Latest(outcome="applied", scope=name, revision=desired.revision, at=at)
    record = LayerRecord(seen=desired.revision, accepted=document)
    return state.with_record(name, record, trial=None, latest=latest)


def after_restart(state: RemoteState, at: str) -> RemoteState:
    """Return the state in which a change that the device stopped in is settled: once it may be tried again."""
    trial = state.trial
    if trial is None:
        return state
    if trial.attempts >= MOST_ATTEMPTS:
        error = KeptError(key="", message=f"the device stopped {trial.attempts} times while it tried this")
        return refused(state, trial.scope, trial.revision, trial.digest, outcome="rolled_back", errors=[error], at=at)
    error = KeptError(key="", message="the device stopped while it tried this; it will be tried once more")
    latest = Latest(outcome="rolled_back", scope=trial.scope, revision=trial.revision, errors=(error,), at=at)
    return state.model_copy(update={"latest": latest})


def thrown_away(state: RemoteState, at: str) -> RemoteState:
    """Return the state after the owner threw all documents away: what the broker still retains is not taken again."""
    error = KeptError(key="", message="the owner threw this away at the device; a higher revision is taken")
    for name, record in state.layers.items():
        if (document := record.accepted) is not None:
            bare = record.model_copy(update={"accepted": None})
            state = refused(
                state.with_record(name, bare),
                name,
                document.revision,
                document.digest,
                outcome="rejected",
                errors=[error],
                at=at,
            )
    return state.model_copy(update={"trial": None, "starts": 0})


def left_out(state: RemoteState, why: Mapping[str, tuple[KeptError, ...]], outcome: Outcome, at: str) -> RemoteState:
    """Return the state that tells of accepted documents that are not in force; they stay, the strongest is named."""
    name = next(reversed(tuple(why)), "")
    document = state.record(name).accepted
    revision = document.revision if document is not None else None
    latest = Latest(outcome=outcome, scope=name, revision=revision, errors=why.get(name, ()), at=at)
    return state.model_copy(update={"latest": latest})


def in_force_after_all(state: RemoteState, layers: Mapping[str, RemoteLayer]) -> RemoteState:
    """Return the state that no longer complains of a revision that is in force: it was left out once, or sent twice."""
    latest = state.latest
    layer = layers.get(latest.scope) if latest is not None else None
    if latest is None or layer is None or layer.revision != latest.revision:
        return state
    return state.model_copy(update={"latest": latest.model_copy(update={"outcome": "applied", "errors": ()})})


def without_strangers(state: RemoteState, names: Iterable[str], public_key: str) -> RemoteState:
    """Return the state without documents of layers that the device has left, or that its key does not vouch for.

    Their highest revisions stay, so that nothing old comes back with them.
    """
    kept: dict[str, LayerRecord] = {}
    left: dict[str, LayerRecord] = {}
    wanted = set(names)
    for name, record in state.layers.items():
        if name not in wanted:
            left[name] = LayerRecord(seen=record.seen)
        elif record.accepted is not None and public_key and record.accepted.signed_by != public_key:
            kept[name] = LayerRecord(seen=record.seen)
        else:
            kept[name] = record
    few = dict(list(left.items())[-_MOST_LEFT_GROUPS:])
    return state.model_copy(update={"layers": {**few, **kept}})
