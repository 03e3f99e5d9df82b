"""What was installed beside the program: models, and the plan that `edge-agent tune` measured."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from edge_agent.app.core import make_ledger
from edge_agent.app.doctor.places import places_of
from edge_agent.app.doctor.result import CheckResult
from edge_agent.app.places import find_llm, find_piper_voice, find_vosk_model
from edge_agent.app.tune.applying import describe
from edge_agent.app.tune.board import read_board
from edge_agent.app.tune.errors import StoredTuneError
from edge_agent.app.tune.stored import read_usable, tune_file
from edge_agent.errors import EdgeAgentError
from edge_agent.models.catalog import load_catalog
from edge_agent.models.inventory import is_untouched, survey
from edge_agent.models.layout import ModelsHome
from edge_agent.models.pins import Pins
from edge_agent.runtime.topology import read_topology

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.app.doctor.result import Figure, Surroundings, Verdict
    from edge_agent.config.schema import Config

_GGUF = b"GGUF"
_VOSK_PARTS = ("am/final.mdl", "conf/model.conf")
_PULL = "sudo edge-agent models pull --recommended   (edge-agent models list shows what fits)"


def check_models(config: Config, around: Surroundings) -> CheckResult:
    """Say with what the agent hears, speaks and thinks, and whether these files look whole; none is loaded."""
    places = places_of(config, around.root)
    try:
        _look_into(places.models)
        hears, heard_by = _recognition(config, places.models)
        speaks, spoken_by = _voice(config, places.models)
        thinks, thought_by = _model(config, places.models)
    except PermissionError as error:
        remedy = "sudo edge-agent doctor --only models"
        return CheckResult("models", "warning", f"you may not look into {error.filename or places.models}", remedy)
    figures: dict[str, Figure] = {"asr": heard_by, "tts": spoken_by, "llm": thought_by, "models": str(places.models)}
    trouble = [*hears, *speaks, *thinks]
    if changed := _changed(places.models):
        trouble.append(("warning", f"not as downloaded: {', '.join(changed)} (edge-agent models verify)"))
    message = f"hears with {heard_by}, speaks with {spoken_by}, thinks with {thought_by or 'no language model'}"
    if not trouble:
        return CheckResult("models", "ok", message, figures=figures)
    verdict: Verdict = "fault" if any(kind == "fault" for kind, _ in trouble) else "warning"
    text = "; ".join(text for _, text in trouble)
    return CheckResult("models", verdict, text, _remedy(config.language), figures)


def _remedy(language: str) -> str:
    """Return how models are had: not from a catalogue that has none for the language."""
    try:
        known = load_catalog().languages
    except EdgeAgentError:
        return _PULL
    if language in known:
        return _PULL
    return f"there are models for {', '.join(known)}: set language to one of them; or put in your own: docs/models.md"


def check_plan(config: Config, around: Surroundings) -> CheckResult:
    """Look whether `edge-agent tune` has measured this board, and whether what it stored may be used."""
    path = tune_file(places_of(config, around.root).state)
    topology = read_topology()
    ledger = make_ledger(config, topology)
    reserve = ledger.statistics().cores - ledger.compute_cores
    try:
        tuned = read_usable(path, read_board(topology, compute_cores=ledger.compute_cores, reserve=reserve))
    except StoredTuneError as error:
        if not os.access(path, os.R_OK):
            return CheckResult("plan", "warning", f"you may not read {path}", "sudo edge-agent doctor --only plan")
        return CheckResult("plan", "warning", f"not used: {error}", "sudo edge-agent tune")
    if tuned is None:
        message = "none: cores are shared by the rule of thumb"
        return CheckResult("plan", "ok", message, "sudo edge-agent tune   (some minutes; optional)")
    measured = tuned.measured_at.date().isoformat()
    figures: dict[str, Figure] = {"measured_at": tuned.measured_at.isoformat(), "path": str(path)}
    return CheckResult("plan", "ok", f"measured on {measured}: {describe(tuned)}", figures=figures)


def _changed(models: Path) -> list[str]:
    """Return the catalogue's models that are not as they were downloaded, by sizes and times alone."""
    home = ModelsHome(models)
    try:
        catalog, pins = load_catalog(), Pins(home).read()
    except EdgeAgentError:
        return []  # without a catalogue or pins there is nothing to compare with
    return [
        found.name
        for found in survey(catalog, home)
        if found.model is not None
        and all(file.name in pins for file in found.model.files)
        and not is_untouched(found.model, home, pins)
    ]


def _look_into(models: Path) -> None:
    """Raise PermissionError where it may not be looked into: a search would find nothing, and not say why."""
    with suppress(FileNotFoundError, NotADirectoryError):
        next(models.iterdir(), None)


def _recognition(config: Config, models: Path) -> tuple[list[tuple[Verdict, str]], str | None]:
    engine, named = config.asr.engine, config.asr.vosk.model
    path = named or find_vosk_model(models, config.language)
    if engine != "pocketsphinx" and path is not None:
        if not path.is_dir():
            return [("fault", f"asr.vosk.model {path} does not exist")], None
        missing = [part for part in _VOSK_PARTS if not (path / part).is_file()]
        # Older models keep everything in one directory.
        if missing and not (path / "final.mdl").is_file():
            return [("fault", f"{path} is no whole Vosk model: {missing[0]} is missing")], path.name
        return [], f"Vosk {path.name}"
    if engine == "vosk" or config.language != "en":
        reason = f"nothing hears language {config.language!r}: there is no Vosk model for it in {models / 'vosk'}"
        return [("fault", reason)], None
    return [], "PocketSphinx"


def _voice(config: Config, models: Path) -> tuple[list[tuple[Verdict, str]], str | None]:
    engine = config.tts.engine
    path = config.tts.piper.voice or find_piper_voice(models, config.language)
    if engine == "piper" or (engine == "auto" and path is not None):
        if path is None or not path.is_file():
            return [("fault", f"the Piper voice {path or ''} does not exist in {models / 'piper'}")], None
        if not path.with_name(f"{path.name}.json").is_file():
            return [("fault", f"{path} lacks {path.name}.json beside it")], path.stem
        return [], f"Piper {path.stem}"
    if engine == "flite" or (engine == "auto" and config.language == "en" and shutil.which("flite")):
        return _command("flite", "Flite")
    return _command("espeak-ng", "eSpeak NG")


def _command(command: str, name: str) -> tuple[list[tuple[Verdict, str]], str]:
    if shutil.which(command) is None:
        return [("fault", f"nothing speaks: {command} is not installed (sudo apt install {command})")], name
    return [], name


def _model(config: Config, models: Path) -> tuple[list[tuple[Verdict, str]], str | None]:
    path = config.llm.model or find_llm(models)
    if path is None:
        return [], None
    try:
        with path.open("rb") as file:
            start = file.read(len(_GGUF))
    except FileNotFoundError:
        return [("fault", f"llm.model {path} does not exist")], None
    if start != _GGUF:
        return [("fault", f"{path} is no GGUF file")], path.stem
    return [], path.stem
