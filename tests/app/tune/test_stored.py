"""What is stored is wholly valid and of this board, or it is not used, and says why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_agent.app.doctor.result import Surroundings
from edge_agent.app.tune.board import Board, read_board
from edge_agent.app.tune.errors import ServiceRunsError, StoredTuneError, TuneNotAllowedError
from edge_agent.app.tune.heat import HeatWatch
from edge_agent.app.tune.stored import (
    Engine,
    Measurements,
    Plan,
    Tuned,
    read_tuned,
    read_usable,
    store_tuned,
    tune_file,
)
from edge_agent.app.tune.tuning import check_is_quiet, check_may_tune, keep
from edge_agent.config.schema import Config
from edge_agent.errors import ServiceError
from edge_agent.runtime.plan import ThreadPlan
from edge_agent.runtime.sensors import Reading, Throttled
from edge_agent.runtime.topology import Topology

BOARD = Board(
    model="Raspberry Pi 5 Model B Rev 1.0",
    processor="0x41 8 0x4 0xd0b",
    architecture="aarch64",
    cores=4,
    compute_cores=3,
    reserve=1,
    memory_mib=8062,
)


def tuned(**changes: Any) -> Tuned:  # noqa: ANN401 - fields of the document
    """Return a document of the board above."""
    return Tuned(
        **{
            "measured_at": datetime(2026, 11, 30, 12, tzinfo=UTC),
            "board": BOARD,
            "llm": Engine(name="llama.cpp small", version="llama-cpp-python 0.3.16"),
            "tts": Engine(name="piper amy"),
            "measured": Measurements(),
            "plan": Plan(llm=2, tts=3, tts_beside=1),
            **changes,
        }
    )


def test_what_is_stored_is_read_again(tmp_path: Path) -> None:
    """Privately, whole, and nothing is left beside it."""
    path = tune_file(tmp_path)
    store_tuned(path, tuned())
    assert read_tuned(path) == tuned()
    assert read_usable(path, BOARD) == tuned()
    assert [file.name for file in tmp_path.iterdir()] == ["tune.json"]
    assert read_tuned(tmp_path / "absent.json") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "is not valid JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"[]", "schema version None"),
        (b'{"schema_version": 2}', "schema version 2, and 1 is known"),
        (b'{"schema_version": 1}', "measured_at: field required"),
        (b" " * 300_000, "is too large"),
    ],
    ids=["cut", "nested", "list", "newer", "empty", "large"],
)
def test_a_broken_document_says_what_is_wrong(content: bytes, why: str, tmp_path: Path) -> None:
    """And what to do."""
    path = tune_file(tmp_path)
    path.write_bytes(content)
    with pytest.raises(StoredTuneError, match=why) as caught:
        read_tuned(path)
    assert "run `edge-agent tune` again" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"), [(("plan", "llm"), 0), (("plan", "tts"), 10**6), (("board", "cores"), "many"), (("more",), 1)]
)
def test_values_that_can_not_be_are_refused(key: tuple[str, ...], value: object, tmp_path: Path) -> None:
    """A plan of nought or of a million threads is none."""
    tree = json.loads(tuned().model_dump_json())
    part = tree
    for name in key[:-1]:
        part = part[name]
    part[key[-1]] = value
    path = tune_file(tmp_path)
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(StoredTuneError, match=key[-1]):
        read_tuned(path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "Raspberry Pi 4 Model B"}, "the board was Raspberry Pi 5"),
        ({"processor": "x"}, "the processor was"),
        ({"cores": 2}, "the number of cores was 4 and is 2"),
        ({"compute_cores": 2, "reserve": 2}, "compute cores was 3 and is 2"),
        ({"memory_mib": 4031}, "the memory was 8062 MiB and is 4031 MiB"),
    ],
    ids=["model", "processor", "cores", "share", "memory"],
)
def test_another_board_is_told_apart(changes: dict[str, object], why: str, tmp_path: Path) -> None:
    """A card that was moved, cores that were taken away."""
    path = tune_file(tmp_path)
    store_tuned(path, tuned())
    with pytest.raises(StoredTuneError, match=f"measured on another board: .*{why}"):
        read_usable(path, BOARD.model_copy(update=changes))


def test_a_little_memory_less_is_the_same_board() -> None:
    """The firmware takes its part."""
    assert BOARD.differs_from(BOARD.model_copy(update={"memory_mib": 7800})) == ""


def test_what_is_not_to_be_trusted_is_not_used_and_replaces_nothing_good(tmp_path: Path) -> None:
    """It is stored where there is nothing better."""
    hot = tuned(tainted=("it was 85 °C hot",), plan=Plan(llm=1))
    path, refusal = keep(tmp_path, hot)
    assert refusal == ""
    with pytest.raises(StoredTuneError, match="not to be trusted: it was 85"):
        read_usable(path, BOARD)
    assert keep(tmp_path, tuned()) == (path, "")
    _, refusal = keep(tmp_path, hot)
    assert "of before stay" in refusal
    assert read_usable(path, BOARD) == tuned()


@pytest.mark.parametrize(
    ("model", "voice", "plan"),
    [
        ("llama.cpp small", "piper amy", ThreadPlan(2, 3, 1)),
        ("llama.cpp large", "piper amy", ThreadPlan(None, 3, None)),
        ("llama.cpp small", "espeak-ng en", ThreadPlan(2, None, None)),
        (None, None, ThreadPlan()),
    ],
    ids=["both", "another model", "another voice", "neither"],
)
def test_a_plan_holds_for_the_engines_that_were_measured(
    model: str | None, voice: str | None, plan: ThreadPlan
) -> None:
    """What was measured together holds where both are those of then."""
    assert tuned().threads(model=model, voice=voice) == plan


def test_a_board_is_read_from_the_kernel(tmp_path: Path) -> None:
    """A Raspberry Pi's own name; an Arm processor by its numbers."""
    for path, text in {
        "sys/firmware/devicetree/base/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "proc/cpuinfo": "processor : 0\nCPU implementer : 0x41\nCPU part\t: 0xd0b\n\nprocessor : 1\nCPU part : 0xd0c\n",
        "proc/meminfo": "MemTotal:        8255488 kB\n",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    topology = Topology((0, 1), (0, 1), (), None, 2, 0, 2)
    board = read_board(topology, compute_cores=2, reserve=0, root=tmp_path)
    assert (board.model, board.processor) == ("Raspberry Pi 5 Model B Rev 1.0", "0x41 0xd0b")
    assert (board.cores, board.memory_mib) == (2, 8062)
    assert read_board(topology, compute_cores=2, reserve=0, root=tmp_path / "none").model == ""


@pytest.mark.parametrize(
    ("before", "reading", "reason"),
    [
        (Reading(), Reading(temperature_c=60.0), ""),
        (Reading(), Reading(temperature_c=81.0), "80 °C hot or hotter"),
        (Reading(), Reading(temperature_c=71.0, soft_limit_c=70.0), "70 °C hot or hotter"),
        (Reading(), Reading(throttled=Throttled.UNDER_VOLTAGE), "voltage was too low"),
        (Reading(), Reading(throttled=Throttled.THROTTLED | Throttled.UNDER_VOLTAGE_SEEN), "firmware throttled"),
        (Reading(), Reading(throttled=Throttled.THROTTLED_SEEN), ""),
        (Reading(cpu_stall_percent=50.0), Reading(), "other programs"),
        (Reading(load_per_core=0.9), Reading(cpu_stall_percent=90.0), "other programs"),
        (Reading(), Reading(cpu_stall_percent=90.0), ""),
    ],
    ids=["well", "hot", "limit", "voltage", "throttled", "seen before", "busy", "load", "by ourselves"],
)
def test_a_slowed_board_taints_what_was_measured(before: Reading, reading: Reading, reason: str) -> None:
    """Heat, voltage, others at work; not what our own work does."""
    watch = HeatWatch(80.0, before)
    watch.look(Reading())
    watch.look(reading)
    assert reason in " ".join(watch.tainted)
    assert bool(watch.tainted) == bool(reason)


def nobody(request: object) -> object:
    """Be no service."""
    raise ServiceError(Path("/run/none"), "no service answers")


def test_nothing_is_measured_beside_the_service(tmp_path: Path) -> None:
    """By its socket or by its unit; the line says how."""
    quiet = Surroundings(root=tmp_path, run=lambda command: None, ask=nobody)
    check_is_quiet(quiet)
    starting = Surroundings(root=tmp_path, run=lambda command: "ActiveState=activating\n", ask=nobody)
    answering = Surroundings(root=tmp_path, run=lambda command: None, ask=lambda request: {"state": "idle"})
    for around in (starting, answering):
        with pytest.raises(ServiceRunsError, match="sudo systemctl stop edge-agent; sudo edge-agent tune"):
            check_is_quiet(around)


def test_what_the_service_would_not_read_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed its state is meant, and who may not write it is told how."""
    import os

    quiet = Surroundings(root=tmp_path, run=lambda command: None, ask=nobody)
    system = tmp_path / "var"
    system.mkdir()
    own = Config.model_validate({"directories": {"state": str(tmp_path / "state")}})
    assert check_may_tune(own, quiet, system) == tmp_path / "state"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(TuneNotAllowedError, match="run: sudo edge-agent tune"):
        check_may_tune(Config(), quiet, system)
