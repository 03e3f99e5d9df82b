"""The examples in docs/remote-config.md work as they stand there."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from remote_rig import DEVICE, RemoteDevice
from virtual_time import in_virtual_time

from edge_agent.config.layers import RemoteLayer
from edge_agent.config.load import OwnConfig
from edge_agent.config.protected import PROTECTED, problems_of_patch
from edge_agent.config.schema import Config
from edge_agent.mqtt.desired import MOST_BYTES, Addressee, DocumentError, read_desired

TEXT = (Path(__file__).parents[2] / "docs" / "remote-config.md").read_text(encoding="utf-8")


def example(kind: str) -> str:
    """Return the one code block of that kind."""
    (block,) = re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)
    assert isinstance(block, str)
    return block


def test_the_document_is_taken_by_the_schema() -> None:
    """Its form, its keys and its values."""
    desired = read_desired(example("json document").encode(), Addressee("fleet", ""))
    assert problems_of_patch(desired.patch, "") == []
    config = OwnConfig().under([RemoteLayer("fleet", "", desired.revision, desired.patch)])
    assert config.audio.volume == 40


def test_the_signed_document_counts_on_the_device_of_the_example() -> None:
    """With the key and the device_id of the file beside it, and not on another one."""
    config = Config.model_validate(tomllib.loads(example("toml")))
    payload = example("json signed").encode()
    desired = read_desired(payload, Addressee("device", config.device_id, config.remote.public_key))
    assert (desired.is_signed, desired.revision) == (True, 8)
    with pytest.raises(DocumentError, match="signed for"):
        read_desired(payload, Addressee("device", "hall-000000", config.remote.public_key))


def test_the_program_prints_the_signed_document() -> None:
    """Ed25519 gives the same signature each time."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example("python"), "remote-config.md", "exec"), {})
    assert json.loads(printed.getvalue()) == json.loads(example("json signed"))


@in_virtual_time
async def test_the_report_has_the_keys_of_a_real_one() -> None:
    """Of the same types, for the same mistake."""
    device = RemoteDevice()
    shown: dict[str, Any] = json.loads(example("json report"))
    async with device.running():
        reported = await device.deliver(DEVICE, {"revision": 8, "patch": {"audio": {"volume": 300}}})
    assert list(reported) == list(shown)
    for key in ("outcome", "errors", "document", "refused"):
        assert reported[key] == shown[key]
    assert {key: type(value) for key, value in reported.items()} == {key: type(value) for key, value in shown.items()}
    assert len(reported["hash"]) == len(shown["hash"])


def test_every_protected_key_is_listed() -> None:
    """An owner can read what is theirs alone."""
    for keys in PROTECTED:
        assert f"`{'.'.join(keys)}`" in TEXT
    assert f"{MOST_BYTES:,}" in TEXT
