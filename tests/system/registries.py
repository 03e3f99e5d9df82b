"""What a fresh root has to be told so that apt and pip find in it what they find on this machine."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

SUITE = "bookworm"

_DEBIAN = "http://deb.debian.org/debian"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")


def mirror() -> str:
    """Return the mirror that this machine has the suite from; Debian's own where it is another distribution."""
    listed = _said("apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)")
    for line in listed.splitlines():
        *target, uri = line.rsplit(maxsplit=3)
        if target == ["Debian", SUITE, "main"]:
            return uri.rstrip("/")
    return _DEBIAN


def tell(root: Path) -> list[Path]:
    """Write this machine's way to the registries into `root`.

    Returns:
        Directories that pip's configuration names: the root is to see them at the same places.
    """
    sources = root / "etc/apt/sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {mirror()} {SUITE} main\n", encoding="utf-8")
    # Without what it says of single indexes and of the cache: that is this machine's own affair.
    unrelated = ("Acquire::IndexTargets", "Acquire::Changelogs", "Acquire::cdrom")
    acquire = [line for line in _said("apt-config", "dump", "Acquire").splitlines() if not line.startswith(unrelated)]
    proxies = [f'Acquire::{name}::Proxy "{address}";' for name, address in _proxies()]
    text = "\n".join([*acquire, *proxies, ""])
    (root / "etc/apt/apt.conf.d/90this-machine").write_text(text, encoding="utf-8")
    for name in ("hosts", "resolv.conf"):
        target = root / "etc" / name
        target.unlink(missing_ok=True)
        shutil.copyfile(Path("/etc") / name, target)
    _trust(root)
    return _tell_pip(root)


def _tell_pip(root: Path) -> list[Path]:
    """Write pip's configuration of this user, variables included, as that of the whole root: sudo drops variables."""
    settings: dict[str, str] = {}
    for line in _said(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        # `global.x`, `:env:.x`: later ones win, and only what holds for every command is of interest.
        settings[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    settings.pop("cache-dir", None)
    for name, address in _proxies():
        if name == "https":
            settings.setdefault("proxy", address)
    directories = []
    for path in {path for value in settings.values() for path in _places(value)}:
        if path.is_dir():
            directories.append(path)
        elif path.is_file() and path != _CERTIFICATES:
            target = root / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    lines = [f"{name} = {_indented(value)}" for name, value in settings.items()]
    (root / "etc/pip.conf").write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    return sorted(directories)


def _trust(root: Path) -> None:
    """Let the root trust the authorities that this machine's owner added."""
    target = root / _OWN_CERTIFICATES.relative_to("/")
    for certificate in sorted(_OWN_CERTIFICATES.glob("**/*.crt")):
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(certificate, target / certificate.name)
    if _CERTIFICATES.is_file():
        shutil.copyfile(_CERTIFICATES, root / _CERTIFICATES.relative_to("/"))


def _places(value: str) -> Iterator[Path]:
    """Name the files and directories that a setting of pip means."""
    for word in value.split():
        if word.startswith("/") and Path(word).exists():
            yield Path(word)
        elif word.startswith("file:") and Path(urlsplit(word).path).is_dir():
            yield Path(urlsplit(word).path).parent  # an index refers to files beside it


def _indented(value: str) -> str:
    return "\n    ".join(value.splitlines())


def _proxies() -> Iterator[tuple[str, str]]:
    for name in ("http", "https"):
        address = os.environ.get(f"{name}_proxy") or os.environ.get(f"{name.upper()}_PROXY")
        if address:
            yield name, address


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
