"""Finds out before anything is published what every device would refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from edge_agent.config.merge import overrides
from edge_agent.config.problems import once_per_key, problem_of
from edge_agent.config.protected import problems_of_patch
from edge_agent.config.schema import Config
from edge_agent.fleet.document import UNSET, Document
from edge_agent.fleet.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

    from edge_agent.errors import ConfigProblem
    from edge_agent.fleet.document import Edit

_OF_ONE_VALUE = frozenset(get_args(ErrorType))
"""Pydantic's own errors; the schema's look at several keys of a section together."""
_NOWHERE = Path("/")
"""What relative paths count from here; on the device it is the configuration's directory."""


def check_edits(edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits with each value in the form that the schema wants: `asr.model=12` is a text there.

    Raises:
        SettingsError: No device would take them: a key is unknown or protected, or a value has the wrong type. Keys
            that are only taken out are not checked: they may be from another version.
    """
    settled = [_settled(edit) for edit in edits]
    patch = Document().with_edits([edit for edit in settled if edit.value is not UNSET], 1).patch
    if problems := _problems(patch):
        raise SettingsError([f"{problem.key}: {problem.message}" for problem in problems])
    return settled


def doubts(patch: Mapping[str, Any]) -> list[str]:
    """Return what would be wrong on a device that has nothing but this document: its own file may mend it."""
    try:
        Config.model_validate(overrides(patch), context={"base_dir": _NOWHERE})
    except ValidationError as error:
        tree = overrides(patch)
        found = [problem_of(one, tree, "", {}) for one in error.errors(include_url=False) if _depends(one)]
        return [f"{problem.key}: {problem.message}" for problem in once_per_key(found)]
    return []


def _settled(edit: Edit) -> Edit:
    if edit.value is UNSET or isinstance(edit.value, str) or not _problems(_alone(edit)):
        return edit
    as_text = dataclasses.replace(edit, value=edit.text)
    return edit if _problems(_alone(as_text)) else as_text


def _alone(edit: Edit) -> Mapping[str, Any]:
    return Document().with_edits([edit], 1).patch


def _problems(patch: Mapping[str, Any]) -> list[ConfigProblem]:
    tree = overrides(patch)
    problems = problems_of_patch(tree, "")
    try:
        Config.model_validate(tree, context={"base_dir": _NOWHERE})
    except ValidationError as error:
        problems += [problem_of(one, tree, "", {}) for one in error.errors(include_url=False) if not _depends(one)]
    return once_per_key(problems)


def _depends(details: ErrorDetails) -> bool:
    """Tell whether other keys, which the device has in its own file, could make this right."""
    is_of_section = isinstance(details["input"], dict) and details["type"] not in _OF_ONE_VALUE
    return details["type"] == "missing" or is_of_section
