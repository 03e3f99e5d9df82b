"""`edge-agent models`: list, pull, verify, remove, path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli.options import config_option, json_option, load
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.config.schema import Config
    from edge_agent.models.catalog import Catalog, CatalogModel
    from edge_agent.models.inventory import Installed
    from edge_agent.models.layout import ModelsHome
    from edge_agent.models.pulling import Manner, Pulled

catalog_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--catalog",
    "catalog_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Another catalogue than the one that comes with edge-agent.",
)


@click.group()
def models() -> None:
    """Get models for hearing, speaking and understanding, and look after them."""


@models.command("list")
@click.option("--language", metavar="CODE", help="Recommend for that language; default: the configured one.")
@config_option
@catalog_option
@json_option
def list_models(config_file: Path | None, catalog_path: Path | None, language: str | None, *, as_json: bool) -> None:
    """Show what is here, what can be pulled, and what suits this board."""
    from edge_agent.cli.models_view import describe, print_models

    config, catalog, home = _opened(config_file, catalog_path, "models list")
    found = describe(config, catalog, home, language or config.language)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        print_models(found)


@models.command(short_help="Download models, check them, and put them in place.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--recommended", is_flag=True, help="What suits this board and language.")
@click.option("--language", metavar="CODE", help="With --recommended; default: the configured one.")
@click.option("--mirror", "mirrors", multiple=True, metavar="URL", help="Ask there first; {path} may stand in it.")
@click.option("--from", "directory", metavar="DIR", help="Take the files from a directory, or a file: address, alone.")
@click.option("--repin", is_flag=True, help="Take another file than the one that was pinned at the first download.")
@config_option
@catalog_option
@json_option
def pull(
    names: tuple[str, ...],
    *,
    config_file: Path | None,
    catalog_path: Path | None,
    language: str | None,
    mirrors: tuple[str, ...],
    directory: str | None,
    recommended: bool,
    repin: bool,
    as_json: bool,
) -> int:
    """Download models, check them, and put them in place; what breaks off goes on at the next pull."""
    if names and recommended:
        raise click.UsageError("NAME and --recommended exclude each other")
    if not names and not recommended:
        raise click.UsageError("name models, or give --recommended")
    if directory is not None and mirrors:
        raise click.UsageError("--from and --mirror exclude each other")
    from edge_agent.models.pulling import Manner
    from edge_agent.models.sources import check_mirror, directory_from

    typed = f"models pull {' '.join(names) or '--recommended'}"
    config, catalog, home = _opened(config_file, catalog_path, typed, changes=True)
    wanted = _wanted(catalog, names, language or config.language)
    manner = Manner(
        mirrors=tuple(map(check_mirror, mirrors)),
        directory=None if directory is None else directory_from(directory),
        repin=repin,
        is_thorough=bool(names),
    )
    return _pull_all(config, home, wanted, manner, as_json=as_json)


@models.command(short_help="Check whether what is here is whole, and works.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@config_option
@catalog_option
@json_option
def verify(names: tuple[str, ...], config_file: Path | None, catalog_path: Path | None, *, as_json: bool) -> int:
    """Check what is here: whether it is what was downloaded, and whether it works."""
    from edge_agent.models.inventory import survey

    _, catalog, home = _opened(config_file, catalog_path, " ".join(("models verify", *names)))
    found = survey(catalog, home)
    chosen = [_installed(catalog, home, found, name) for name in names] if names else list(found)
    results = [_verified(entry, home, as_json=as_json) for entry in chosen]
    if as_json:
        click.echo(json.dumps(results, ensure_ascii=False))
    elif not results:
        click.echo(f"there are no models in {home.root}")
    return int(any(not result["ok"] for result in results))


@models.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--force", is_flag=True, help="Even what the configuration names.")
@config_option
@catalog_option
@json_option
def remove(
    names: tuple[str, ...], config_file: Path | None, catalog_path: Path | None, *, force: bool, as_json: bool
) -> None:
    """Remove models, or what is kept of a pull that has not ended."""
    from edge_agent.app.model_choice import named_by
    from edge_agent.models.errors import ModelInUseError
    from edge_agent.models.inventory import survey
    from edge_agent.models.removing import remove_model, remove_parts

    typed = f"models remove {' '.join(names)}"
    config, catalog, home = _opened(config_file, catalog_path, typed, changes=True)
    found = survey(catalog, home)
    half = [model for name in names if (model := _half_here(catalog, home, found, name)) is not None]
    halves = {model.id.lower() for model in half}
    chosen = [_installed(catalog, home, found, name, is_missed=False) for name in names if name.lower() not in halves]
    for entry in chosen:
        if not force and (key := named_by(config, entry.path)) is not None:
            raise ModelInUseError(entry.name, key)
    freed = {entry.name: remove_model(entry, home) for entry in chosen}
    freed |= {model.id: remove_parts(model, home) for model in half}
    if as_json:
        click.echo(json.dumps([{"name": name, "freed_bytes": size} for name, size in freed.items()]))
        return
    for name, size_bytes in freed.items():
        what = f"what had come of {name}" if name.lower() in halves else name
        click.echo(f"{what} is removed, {size_bytes / (1 << 20):.0f} MiB are free again")
    _tell_service()


@models.command()
@click.argument("name")
@config_option
@catalog_option
def path(name: str, config_file: Path | None, catalog_path: Path | None) -> None:
    """Print where a model is, as the configuration takes it."""
    from edge_agent.models.inventory import survey

    _, catalog, home = _opened(config_file, catalog_path, f"models path {name}")
    click.echo(_installed(catalog, home, survey(catalog, home), name).path)


def _opened(
    config_file: Path | None, catalog_path: Path | None, typed: str, *, changes: bool = False
) -> tuple[Config, Catalog, ModelsHome]:
    """Read configuration and catalogue; from there on root is the owner of the models directory."""
    from edge_agent.app.models_home import find_models
    from edge_agent.models.catalog import load_catalog
    from edge_agent.models.identity import become_owner

    config, catalog = load(config_file), load_catalog(catalog_path)
    home = find_models(config, typed, changes=changes)
    become_owner(home.root)
    return config, catalog, home


def _wanted(catalog: Catalog, names: Sequence[str], language: str) -> list[CatalogModel]:
    """Return the models that are meant, each once, without those that come with a package."""
    from edge_agent.app.model_choice import board_memory_mib
    from edge_agent.models.errors import NothingRecommendedError

    if names:
        chosen = list(dict.fromkeys(catalog.find(name) for name in names))
    else:
        chosen = list(catalog.recommended(language, board_memory_mib()))
        if not chosen:
            raise NothingRecommendedError(language, catalog.languages)
        if not any(model.kind in {"vosk", "piper"} for model in chosen):
            nothing = f'the catalogue has no hearing and no voice for language "{language}" and this board\'s memory'
            click.echo(nothing, err=True)
    for model in chosen:
        if model.comes_with is not None:
            click.echo(f"{model.id} need no download: they come with the Python package {model.comes_with}", err=True)
    return [model for model in chosen if model.files]


def _installed(
    catalog: Catalog, home: ModelsHome, found: Sequence[Installed], name: str, *, is_missed: bool = True
) -> Installed:
    """Return a model that is here by its name; `is_missed`: say how it is had where it is not.

    Raises:
        NotInstalledError: It is in the catalogue, but not here.
        PackagedModelError: It comes with a Python package.
        UnknownModelError: It is neither.
    """
    from edge_agent.models.errors import NotInstalledError, PackagedModelError

    for entry in found:
        if entry.name.lower() == name.lower():
            return entry
    model = catalog.find(name)
    if model.comes_with is not None:
        raise PackagedModelError(model.id, model.comes_with)
    raise NotInstalledError(model.id, home.root, is_missed=is_missed)


def _half_here(catalog: Catalog, home: ModelsHome, found: Sequence[Installed], name: str) -> CatalogModel | None:
    """Return a model of which there is no more than a part."""
    if any(entry.name.lower() == name.lower() for entry in found):
        return None
    model = next((model for model in catalog.models if model.id.lower() == name.lower()), None)
    return model if model is not None and home.work(model).is_dir() else None


def _pull_all(
    config: Config, home: ModelsHome, wanted: Sequence[CatalogModel], manner: Manner, *, as_json: bool
) -> int:
    """Pull one after the other; one that fails does not keep the others away."""
    from edge_agent.app.model_choice import use_of
    from edge_agent.cli.models_view import describe_pull, print_pull, pull_progress
    from edge_agent.runtime.loop import run

    results: list[dict[str, Any]] = []
    try:
        with pull_progress(quiet=as_json) as progress:
            for model in wanted:
                try:
                    pulled = run(_pull_one(model, home, manner, progress))
                except EdgeAgentError as error:
                    progress.forget(model.id)
                    click.echo(f"edge-agent: {error}", err=True)
                    results.append({"name": model.id, "ok": False, "error": str(error)})
                    continue
                result = describe_pull(pulled, use_of(config, home.root, model, pulled.path))
                results.append(result)
                if not as_json:
                    print_pull(result)
    except (KeyboardInterrupt, SystemExit):  # the latter is SIGTERM's
        click.echo("edge-agent: interrupted; what came so far is kept, and the next pull goes on from there", err=True)
        raise
    if as_json:
        click.echo(json.dumps(results, ensure_ascii=False))
    elif any(result.get("is_new") for result in results):
        _tell_service()
    return int(any(not result["ok"] for result in results))


async def _pull_one(model: CatalogModel, home: ModelsHome, manner: Manner, progress: Any) -> Pulled:  # noqa: ANN401 - the view's
    from dataclasses import replace

    from edge_agent.models.pulling import pull as pull_model
    from edge_agent.net.http import open_http
    from edge_agent.runtime.pool import Pool

    pool, names = Pool("models", niceness=5), Pool("names")
    try:
        async with open_http(resolve_on=names) as http:
            return await pull_model(model, home, http, pool, replace(manner, progress=progress))
    finally:
        await pool.close()
        await names.close(0.5)


def _verified(entry: Installed, home: ModelsHome, *, as_json: bool) -> dict[str, Any]:
    from edge_agent.models.identity import as_typed
    from edge_agent.models.inventory import Verdict, verify_steps
    from edge_agent.models.proving import find_fault, is_tried

    verdict = Verdict()
    for _ in verify_steps(entry, home, verdict):
        pass
    fault = verdict.fault or find_fault(entry.kind, entry.path) or ""
    result = {
        "name": entry.name,
        "kind": entry.kind,
        "path": str(entry.path),
        "ok": not fault,
        "fault": fault or None,
        "checksum": verdict.checked or None,
        "tried": is_tried(entry.kind),
    }
    if not as_json:
        checked = {"published": "as published", "pinned": "as first downloaded", "": "no checksum is known"}
        how = "works" if result["tried"] else "its engine is not installed: only its files were looked at"
        known = entry.model is not None
        pull_again = as_typed(home.root, f"models pull {entry.name}")
        remedy = f"; {pull_again} puts it right" if known else "; copy it again"
        click.echo(
            f"✗ {entry.name}: {fault}{remedy}" if fault else f"✓ {entry.name}: {checked[verdict.checked]}; {how}"
        )
    return result


def _tell_service() -> None:
    """Say what a running service makes of the change."""
    from edge_agent.errors import ServiceError
    from edge_agent.gateway.client import ask_service
    from edge_agent.gateway.places import sockets_to_ask

    try:
        ask_service(sockets_to_ask(), {"get": "status"}, timeout_s=1.0)
    except ServiceError:
        return
    click.echo("The service that runs takes this up at its next start: sudo systemctl restart edge-agent")
