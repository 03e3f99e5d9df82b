"""Remote revisions on disk: whatever happens to the power or the file, something whole is read."""

from __future__ import annotations

import contextlib
import errno
import json
import random
from pathlib import Path

import pytest
from unreliable_disk import PowerLossError, UnreliableDisk

from edge_agent.errors import StoreError
from edge_agent.store.durable import DiskFiles
from edge_agent.store.revisions import Accepted, LayerRecord, RemoteState, RevisionStore, Trial

PATH = Path("/state/remote.json")


def state(revision: int) -> RemoteState:
    """Return a state that is told by its revision."""
    accepted = Accepted(revision=revision, patch={"audio": {"volume": revision % 100}}, digest="d")
    return RemoteState(layers={"device/pi-1": LayerRecord(seen=revision, accepted=accepted)})


def revision_of(state: RemoteState) -> int:
    """Return it; 0: nothing is kept."""
    accepted = state.record("device/pi-1").accepted
    return accepted.revision if accepted else 0


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Every field comes back from a real disk, in a private file."""
    path = tmp_path / "new directory" / "remote.json"
    kept = state(3).model_copy(
        update={"trial": Trial(scope="fleet", revision=9, digest="e", attempts=1), "starts": 2, "not_before": 12.5}
    )
    RevisionStore(path).save(state(2))
    RevisionStore(path).save(kept)
    loaded = RevisionStore(path).load()
    assert (loaded.state, loaded.faults) == (kept, ())
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == ["remote.json", "remote.json.old"]


def test_nothing_kept_is_no_fault(tmp_path: Path) -> None:
    """A device that was never configured remotely starts in silence."""
    loaded = RevisionStore(tmp_path / "remote.json").load()
    assert (loaded.state, loaded.faults) == (RemoteState(), ())


def test_power_can_be_cut_at_every_operation() -> None:
    """A save that returned is there; one that was cut is there or not; and the next start saves again."""
    cuts = 0
    for saves in range(1, 5):
        for operation in range(5 * saves + 1):
            for seed in range(40):
                disk = UnreliableDisk(power_for=operation, is_cut_after=bool(seed % 2))
                store = RevisionStore(PATH, disk)
                done = 0
                try:
                    for revision in range(1, saves + 1):
                        store.save(state(revision))
                        done = revision
                except PowerLossError:
                    cuts += 1
                disk.restart(random.Random(seed))
                again = RevisionStore(PATH, disk)
                assert revision_of(again.load().state) in {done, done + 1}, (saves, operation, seed)
                again.save(state(77))
                assert revision_of(RevisionStore(PATH, disk).load().state) == 77
    assert cuts > 1000


def test_a_second_cut_does_not_find_a_weak_spot() -> None:
    """Cut while saving, and cut again while saving after the restart: never less than what was whole before."""
    for first in range(1, 11):
        for second in range(6):
            for seed in range(20):
                choose = random.Random(seed)
                disk = UnreliableDisk()
                RevisionStore(PATH, disk).save(state(1))
                least = 1
                for operation in (first, second):
                    disk.power_for = operation
                    store = RevisionStore(PATH, disk)
                    store.load()
                    try:
                        for revision in (least + 1, least + 2):
                            store.save(state(revision))
                    except PowerLossError:
                        pass
                    disk.restart(choose)
                    found = revision_of(RevisionStore(PATH, disk).load().state)
                    assert found >= least
                    least = found


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"null", b"[]", b'{"sha256": "0", "state": {}}', bytes(100), b"\xff" * 9]
)
def test_a_damaged_file_falls_back_to_the_one_before(damage: bytes) -> None:
    """It is told, the one before is used, and the next save does not put the damaged one in its place."""
    disk = UnreliableDisk()
    store = RevisionStore(PATH, disk)
    store.save(state(1))
    store.save(state(2))
    disk.put(PATH, damage)
    store = RevisionStore(PATH, disk)
    loaded = store.load()
    assert revision_of(loaded.state) == 1
    assert len(loaded.faults) == 1
    assert "damaged" in loaded.faults[0]
    for operation in range(6):
        for seed in range(10):
            disk = UnreliableDisk()
            store = RevisionStore(PATH, disk)
            store.save(state(1))
            store.save(state(2))
            disk.put(PATH, damage)
            store = RevisionStore(PATH, disk)
            store.load()
            disk.power_for = operation
            with contextlib.suppress(PowerLossError):
                store.save(state(3))
            disk.restart(random.Random(seed))
            assert revision_of(RevisionStore(PATH, disk).load().state) in {1, 3}


def test_every_flipped_byte_is_noticed() -> None:
    """A bit that fell over anywhere never makes another state: the checksum or the form catches it."""
    disk = UnreliableDisk()
    RevisionStore(PATH, disk).save(state(1))
    whole = disk.read(PATH, 1 << 20)
    choose = random.Random(5)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << choose.randrange(8)
        disk.put(PATH, bytes(damaged))
        assert RevisionStore(PATH, disk).load().state in [state(1), RemoteState()]  # white space may change


def test_both_files_damaged_is_nothing_and_two_faults() -> None:
    """The device starts all the same."""
    disk = UnreliableDisk()
    disk.put(PATH, b"x")
    disk.put(Path(f"{PATH}.old"), b"y")
    loaded = RevisionStore(PATH, disk).load()
    assert (loaded.state, len(loaded.faults)) == (RemoteState(), 2)


def test_a_file_of_another_version_or_too_large_is_not_guessed_at() -> None:
    """What this program can't read counts as damaged."""
    from hashlib import sha256

    from edge_agent.config.merge import canonical

    disk = UnreliableDisk()
    newer = {**state(1).model_dump(mode="json"), "version": 2}
    disk.put(PATH, json.dumps({"sha256": sha256(canonical(newer)).hexdigest(), "state": newer}).encode())
    assert len(RevisionStore(PATH, disk).load().faults) == 1
    disk.put(PATH, b" " * (5 << 20))
    assert len(RevisionStore(PATH, disk).load().faults) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("failing", range(5))
def test_a_disk_that_says_no_keeps_what_it_had(code: int, failing: int) -> None:
    """Each operation can fail; the state before is read then, or the new one where only the last sync failed."""
    disk = UnreliableDisk()
    store = RevisionStore(PATH, disk)
    store.save(state(1))
    done = len(disk.operations)
    disk.fails_with, disk.fails = code, lambda _: len(disk.operations) == done + failing + 1
    with pytest.raises(StoreError, match="can't be kept"):
        store.save(state(2))
    disk.fails_with = 0
    assert revision_of(RevisionStore(PATH, disk).load().state) in ({1} if failing < 4 else {1, 2})
    store.save(state(3))
    assert revision_of(RevisionStore(PATH, disk).load().state) == 3


def test_a_directory_that_can_not_be_written_is_one_clear_error(tmp_path: Path) -> None:
    """It names the file."""
    (tmp_path / "state").write_text("a file, not a directory")
    with pytest.raises(StoreError, match=r"remote\.json: can't be kept"):
        RevisionStore(tmp_path / "state" / "remote.json", DiskFiles()).save(RemoteState())
