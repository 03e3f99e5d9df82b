"""A broker as people write it: `mqtts://user@host:8883`, `host:1883`, `host`, `none`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edge_agent.app.setup.errors import BadAnswerError

NO_BROKER = "none"
PORT, TLS_PORT = 1883, 8883
_SCHEMES = {"mqtt": False, "mqtts": True}
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is, and who the device is to it.

    Attributes:
        host: Empty: there is none.
        port: None: the usual one, 1883, or 8883 with TLS.
        tls: None: nothing is said of it.
        username: None: nothing is said of it; empty: anonymous.
    """

    host: str
    port: int | None = None
    tls: bool | None = None
    username: str | None = None

    def __str__(self) -> str:
        if not self.host:
            return NO_BROKER
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.username}@" if self.username else ""
        port = "" if self.port is None else f":{self.port}"
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{host}{port}"


def parse_broker(text: str) -> BrokerAddress:
    """Return what `text` says.

    Raises:
        BadAnswerError: It is no address of a broker, or holds a password. The text itself is then not repeated.
    """
    text = text.strip()
    if text.casefold() in {"", NO_BROKER}:
        return BrokerAddress("")
    scheme, has_scheme, rest = text.partition("://")
    if not has_scheme:
        scheme, rest = "", text
    if scheme and scheme.casefold() not in _SCHEMES:
        raise BadAnswerError(f"{scheme[:20]!r} is no way to a broker: mqtt://host:1883, or mqtts://host:8883 for TLS")
    try:
        parts = urlsplit(f"//{rest}")
        host, port, username, password = parts.hostname, parts.port, parts.username, parts.password
    except ValueError as error:
        raise BadAnswerError("a port is a number from 1 to 65535, an IPv6 address stands in [ ]") from error
    if password is not None:
        raise BadAnswerError("a password does not belong in the address; it is asked for, or read by --password-file")
    if parts.path.strip("/") or parts.query or parts.fragment or not host or not _HOST.fullmatch(host) or port == 0:
        raise BadAnswerError("a broker is a host name or an address, such as broker.example:1883 or mqtts://user@host")
    tls = _SCHEMES.get(scheme.casefold()) if scheme else (True if port == TLS_PORT else None)
    return BrokerAddress(host, port, tls, unquote(username) if username is not None else None)
