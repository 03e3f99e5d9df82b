"""Reading desired documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from edge_agent.mqtt.desired import MOST_BYTES, MOST_REVISION, Addressee, Desired, DocumentError, read_desired
from edge_agent.mqtt.signing import generate_key_pair, sign

KEYS = generate_key_pair()
OPEN = Addressee("device", "pi-1")
LOCKED = Addressee("device", "pi-1", KEYS.public)


def read(document: object, addressee: Addressee = OPEN) -> Desired:
    """Read a document."""
    return read_desired(document if isinstance(document, bytes) else json.dumps(document).encode(), addressee)


def refusal(document: object, addressee: Addressee = OPEN) -> DocumentError:
    """Return why it does not count."""
    with pytest.raises(DocumentError) as caught:
        read(document, addressee)
    return caught.value


def test_a_document_is_a_revision_and_a_patch() -> None:
    """Both are given back, with a digest that the order of keys does not change."""
    one = read({"revision": 3, "patch": {"audio": {"volume": 40}, "log_level": "info"}})
    other = read({"patch": {"log_level": "info", "audio": {"volume": 40}}, "revision": 4})
    assert (one.revision, one.patch["audio"], one.expires_at, one.is_signed) == (3, {"volume": 40}, None, False)
    assert one.digest == other.digest != read({"revision": 3, "patch": {}}).digest


@pytest.mark.parametrize(
    "revision", [0, -1, True, False, 1.0, 1.5, "1", None, [], {}, MOST_REVISION + 1, 10**30], ids=str
)
def test_a_revision_is_a_whole_number_from_one(revision: object) -> None:
    """True is no 1 and 1.0 is none either; what not every JSON reader holds exactly is refused."""
    error = refusal({"revision": revision, "patch": {}})
    assert (error.key, error.revision) == ("revision", None)
    assert "whole number" in error.message


def test_the_largest_revision_counts() -> None:
    """2**53 does."""
    assert read({"revision": MOST_REVISION, "patch": {}}).revision == MOST_REVISION


@pytest.mark.parametrize(
    ("document", "key", "message"),
    [
        ({}, "revision", "is missing"),
        ({"patch": {}}, "revision", "is missing"),
        ({"revision": 1}, "patch", "is missing"),
        ({"revision": 1, "patch": None}, "patch", "must be an object"),
        ({"revision": 1, "patch": []}, "patch", "must be an object"),
        ({"revision": 1, "patch": {}, "pach": {}}, "pach", 'did you mean "patch"?'),
        ({"revision": 1, "patch": {}, "scope": "pi-1"}, "expires_at", "a signed document has"),
        ({"revision": 1, "patch": {}, "signature": None}, "scope", "a signed document has"),
        ([], "", "object"),
        (b"", "", "JSON"),
        (b"{", "", "JSON"),
        (b"\xff\xfe{}", "", "UTF-8"),
        (b'{"revision": 1, "revision": 2, "patch": {}}', "", "twice"),
        (b'{"revision": 1, "patch": {"a": NaN}}', "", "NaN"),
        (b'{"revision": 1, "patch": ' + b'{"a":' * 50 + b"1" + b"}" * 51, "", "deep"),
        (b" " * (MOST_BYTES + 1), "", "bytes"),
    ],
    ids=str,
)
def test_anything_else_is_refused_with_its_place(document: object, key: str, message: str) -> None:
    """One clear reason each."""
    error = refusal(document)
    assert error.key == key
    assert message in str(error)


def test_a_refusal_knows_the_revision_where_it_could_be_read() -> None:
    """An operator is told which of their documents it was."""
    assert refusal({"revision": 12, "patch": 3}).revision == 12


def signed(scope: str = "pi-1", **changes: object) -> dict[str, Any]:
    """Return a document signed for `scope`, with changes made afterwards."""
    document = sign(3, {"audio": {"volume": 1}}, scope, datetime(2030, 1, 31, 12, tzinfo=UTC), KEYS.private)
    return {**document, **changes}


def test_a_signed_document_counts_with_and_without_a_key() -> None:
    """Where no key is set nothing is checked but scope and form."""
    for addressee, is_signed in ((LOCKED, True), (OPEN, False)):
        found = read(signed(), addressee)
        assert found.is_signed is is_signed
        assert found.expires_at == datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"revision": 3, "patch": {}}, "signature"),
        (signed(signature="A" * 88), "signature"),
        (signed(patch={}), "signature"),
        (signed("pi-2"), "scope"),
        (signed("group/pi-1"), "scope"),
        (signed("fleet"), "scope"),
    ],
    ids=["unsigned", "forged", "tampered", "another device", "group", "fleet"],
)
def test_with_a_key_only_documents_signed_for_this_layer_count(document: dict[str, Any], key: str) -> None:
    """Unsigned, changed, or somebody else's."""
    assert refusal(document, LOCKED).key == key


def test_each_layer_has_its_own_scope() -> None:
    """A document for a group is no document for the fleet."""
    for addressee in (Addressee("fleet", "", KEYS.public), Addressee("group", "kitchen", KEYS.public)):
        scope = "fleet" if addressee.layer == "fleet" else "group/kitchen"
        assert read(signed(scope), addressee).is_signed
        assert refusal(signed("pi-1"), addressee).key == "scope"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        ("2030-01-31t14:00:00.123456789+02:00", datetime(2030, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2030-01-31 12:00:00z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_expiry_is_a_time_of_rfc_3339(text: str, expected: datetime) -> None:
    """With any time zone and any fraction."""
    assert (
        read({"revision": 1, "patch": {}, "scope": "pi-1", "expires_at": text, "signature": ""}).expires_at == expected
    )


@pytest.mark.parametrize(
    "text",
    ["", "2030-01-31", "2030-01-31T12:00:00", "2030-13-31T12:00:00Z", "tomorrow", "20300131T120000Z",
     "٢٠٣٠-01-31T12:00:00Z",
     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2030-01-31T12:00:00+99:99", "1" * 5000],
)  # fmt: skip
def test_an_expiry_that_is_no_time_is_refused(text: str) -> None:
    """A local time, a date, a time that there is not."""
    error = refusal({"revision": 1, "patch": {}, "scope": "pi-1", "expires_at": text, "signature": ""})
    assert (error.key, error.revision) == ("expires_at", 1)
