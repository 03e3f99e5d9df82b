"""From answers to files: the whole configuration is checked before any of it is replaced."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.check import check_files
from edge_agent.app.setup.errors import BadAnswerError
from edge_agent.app.setup.languages import commands_change
from edge_agent.app.setup.replacing import NewContent, replace_all
from edge_agent.app.setup.toml_edit import edit
from edge_agent.config.load import OwnConfig, read_own
from edge_agent.config.merge import leaves
from edge_agent.config.schema import Config

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.app.setup.answers import Answers
    from edge_agent.app.setup.target import Target
    from edge_agent.config.merge import Keys, Tree

_LONGEST_PASSWORD = 4096


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be written.

    Attributes:
        text: The file's.
        config: What it means, without variables of the environment.
        password: None: it stays; empty: it goes.
        changed: Keys whose value is another one than before.
    """

    text: str
    config: Config
    password: str | None
    changed: tuple[str, ...]


def read_target(target: Target) -> tuple[str, Config]:
    """Return the file's text, empty where there is none, and what it means.

    Raises:
        ConfigError: It is wrong already: it is to be mended by hand first.
    """
    if not target.file.exists():
        return "", Config()
    config = read_own(target.file, {}).under()
    return target.file.read_text(encoding="utf-8"), config


def has_password(target: Target, config: Config) -> bool:
    """Tell whether a password for the broker is in place, so that it can stay."""
    path = config.mqtt.password_file or (target.password if target.is_installed else None)
    try:
        return path is not None and path.stat().st_size > 0
    except OSError:
        return False


def check_standing(target: Target, config: Config, answers: Answers) -> None:
    """Check the files that the present configuration names, before anybody answers questions. Blocking.

    Raises:
        ConfigError: One is wrong that no answer mends.
    """
    # The language's commands and the password are asked for.
    intents = config.intents.model_copy(update={"builtin": False})
    standing = config.model_copy(update={"intents": intents})
    check_files(standing if answers.password is None else _without_password(standing), str(target.file))


def draft(target: Target, answers: Answers) -> Draft:
    """Return the file with the answers in it; writes nothing.

    Raises:
        ConfigError: What would come out is no valid configuration, or names files that are wrong; each key is named.
        BadAnswerError: There is a password, and nobody whose it is.
        NotEditableError: A key is written in a way that can't be changed in place.
    """
    before, old = read_target(target)
    changes = answers.changes()
    if answers.language is not None:
        changes |= commands_change(old, answers.language)
    password = answers.password
    if password is None and answers.broker is not None and answers.broker.host and not answers.broker.username:
        password = "" if old.mqtt.password_file is not None or target.password.exists() else None
    if password is not None:
        _check_password(password)
        if target.password_key is None or not password:
            changes["mqtt", "password_file"] = None
        else:
            changes["mqtt", "password_file"] = target.password_key
    text = edit(before, changes, Config().model_dump(mode="json"), target.file)
    tree = tomllib.loads(text)
    config = OwnConfig(tree, str(target.file), target.file.parent).under()
    if password and not config.mqtt.username:
        raise BadAnswerError("there is a password and no user name; give both, as in mqtts://user@host")
    check_files(config if password is None else _without_password(config), str(target.file))
    return Draft(text, config, password, _changed(before, tree, old, config))


def save(target: Target, new: Draft) -> list[Path]:
    """Write what changed, and return which files that was; blocking. Of the configuration before there is a backup.

    Raises:
        NotSavedError: A file can't be written.
    """
    files = []
    if new.password is not None:
        # A password stands in a file of its own: the configuration may be read by more people.
        content = f"{new.password}\n".encode() if new.password else None
        files.append(NewContent(target.password, content, target.secret_ownership, is_secret=True))
    if new.text:
        files.append(NewContent(target.file, new.text.encode(), target.ownership, keeps_backup=True))
    return replace_all(files)


def _without_password(config: Config) -> Config:
    """Return a configuration whose password's file is still to be written, without it."""
    return config.model_copy(update={"mqtt": config.mqtt.model_copy(update={"password_file": None})})


def _check_password(password: str) -> None:
    if "\n" in password or "\r" in password or "\0" in password or len(password.encode()) > _LONGEST_PASSWORD:
        raise BadAnswerError(f"a password is one line of {_LONGEST_PASSWORD} bytes at most")


def _changed(before: str, tree: Tree, old: Config, new: Config) -> tuple[str, ...]:
    def value(config: Config, keys: Keys) -> object:
        found: object = config.model_dump(mode="json")
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    touched = {keys for part in (tomllib.loads(before), tree) for keys, _ in leaves(part)}
    return tuple(".".join(keys) for keys in sorted(touched) if value(old, keys) != value(new, keys))
