"""What can go wrong between the device and its broker, in words that hold no secrets."""

from __future__ import annotations

import errno
import socket
import ssl

from edge_agent.errors import FaultError

_FINAL = frozenset({0x81, 0x82, 0x90, 0x95, 0x99, 0x9A, 0x9B})
"""Malformed packet, protocol error, topic name invalid, packet too large, payload format invalid, retain or QoS not
supported: the same message again would be refused again (MQTT 5, section 2.4)."""
TAKEN_OVER = 0x8E

_WORDS = {
    0x01: "speaks no MQTT 5",  # what a broker of version 3 answers
    0x80: "refuses without a reason",
    0x81: "could not read what was sent",
    0x82: "complains of a breach of protocol",
    0x83: "refuses for a reason of its own",
    0x84: "speaks no MQTT 5",
    0x85: "does not accept the client id; set device_id",
    0x86: "refuses the user name or the password; check mqtt.username and mqtt.password_file",
    0x87: "does not authorise this; check mqtt.username, mqtt.password_file and the broker's access rules",
    0x88: "is not available",
    0x89: "is busy",
    0x8A: "has banned this device",
    0x8B: "shuts down",
    0x8C: "does not know this way of authentication",
    0x8D: "heard nothing for longer than the keep-alive time",
    0x8E: "gave the session to another client with the same id; give each device a device_id of its own",
    0x8F: "does not accept the topic filter",
    0x90: "does not accept the topic",
    0x93: "was sent more at once than it takes",
    0x95: "was sent more than it takes in one message",
    0x96: "was sent too much in too short a time",
    0x97: "has no room for this device any more",
    0x98: "closed the connection by an administrator's order",
    0x99: "does not accept the payload's format",
    0x9A: "keeps no retained messages, which availability and status need",
    0x9C: "says that another server is to be used; correct mqtt.host",
    0x9D: "has moved; correct mqtt.host",
    0x9F: "refuses so many connections in so short a time",
    0xA0: "held the connection for as long as it may",
}

NO_TLS = "closed the connection instead of speaking TLS; correct mqtt.port (a broker's TLS port is usually 8883)"
MAYBE_TLS = "closed the connection without an answer; if that port is for TLS, set mqtt.tls.enabled"

_EXPIRED, _NOT_YET, _HOST, _ADDRESS = 10, 9, 62, 64
_UNKNOWN_ISSUERS = frozenset({2, 18, 19, 20, 21, 7})
"""OpenSSL's X509_V_ERR_* of a chain that ends in no authority that is trusted (x509_vfy.h)."""
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})


class BrokerError(FaultError):
    """The broker can't be had, or refuses.

    Attributes:
        broker: `host:port`.
        code: The reason code of MQTT 5, where there is one.
        is_lost: Whether the connection was lost, so that nobody knows what became of the message.
    """

    def __init__(self, broker: str, reason: str, code: int | None = None, *, is_lost: bool = False) -> None:
        super().__init__(f"broker {broker}: {reason}")
        self.broker = broker
        self.reason = reason
        self.code = code
        self.is_lost = is_lost

    @property
    def is_final(self) -> bool:
        """Whether the same message would be refused again."""
        return self.code in _FINAL


class NotConnectedError(BrokerError):
    """There is no connection to the broker at the moment; nothing was sent."""


def reason_of(code: int) -> str:
    """Say in words what a reason code of MQTT 5 means."""
    return _WORDS.get(code, f"gives reason code 0x{code:02X}")


def network_reason(error: OSError, host: str) -> str:
    """Say in words why no connection came about, or why it broke."""
    match error:
        case ssl.SSLCertVerificationError():
            reason = _certificate_reason(error, host)
        case ssl.SSLError():
            reason = _tls_reason(error)
        case socket.gaierror():
            reason = f"the name {host!r} can't be resolved ({error.strerror}); check mqtt.host and the network"
        case ConnectionRefusedError():
            reason = "refuses the connection: no broker listens there; check mqtt.host and mqtt.port"
        case ConnectionAbortedError() if error.errno is None:
            reason = str(error)  # of our own making
        case ConnectionError():
            reason = "broke the connection off"
        case TimeoutError():
            reason = "does not answer"
        case _ if error.errno in _UNREACHABLE:
            reason = "can't be reached; check the network"
        case _:
            reason = f"the connection failed ({error.strerror or type(error).__name__})"
    return reason


def _certificate_reason(error: ssl.SSLCertVerificationError, host: str) -> str:
    match error.verify_code:
        case code if code == _EXPIRED:
            return "its certificate has expired; renew it (or this device's clock is wrong)"
        case code if code == _NOT_YET:
            return "its certificate is not valid yet; this device's clock is wrong"
        case code if code in {_HOST, _ADDRESS}:
            return f"its certificate is for another host name than {host!r}; correct mqtt.host or the certificate"
        case code if code in _UNKNOWN_ISSUERS:
            return "its certificate is not signed by the authority that is trusted; check mqtt.tls.ca_file"
        case _:
            return f"its certificate is not accepted: {error.verify_message}"


def _tls_reason(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return (
            "wants a certificate of this device; set mqtt.tls.certificate_file and key_file"
            if "REQUIRED" in reason
            else "agrees on no kind of TLS; it may want a certificate of this device (mqtt.tls.certificate_file)"
        )
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return f"does not accept this device's certificate ({_plain(reason)}); check mqtt.tls.certificate_file"
    if reason in {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}:
        return "answers in plain text where TLS is expected; correct mqtt.port (a broker's TLS port is usually 8883)"
    if reason in {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"}:
        return "speaks no TLS of version 1.2 or later"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or "EOF" in reason:
        return NO_TLS
    return f"TLS failed ({_plain(reason) or 'no reason given'})"


def _plain(reason: str) -> str:
    return reason.replace("_", " ").lower()
