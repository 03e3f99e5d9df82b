"""JSON merge patches and canonical JSON."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.merge import canonical, leaves, merge, overrides

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
TREES = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_standards_examples(target: object, patch: object, result: object) -> None:
    """RFC 7396, appendix A, all fifteen."""
    assert merge(target, patch) == result


@given(TREES, TREES)
def test_merging_changes_neither_and_twice_is_once(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """A patch applied again changes nothing more."""
    before = copy.deepcopy((target, patch))
    once = merge(target, patch)
    assert (target, patch) == before
    assert merge(once, patch) == once


@given(TREES, TREES, TREES)
def test_what_a_stronger_layer_says_wins_and_what_it_does_not_say_shows_through(
    weak: dict[str, Any], strong: dict[str, Any], own: dict[str, Any]
) -> None:
    """Each leaf of the strongest layer stands; nulls in a layer are as if they were left out."""
    result = merge(merge(own, overrides(weak)), overrides(strong))
    for keys, value in leaves(overrides(strong)):
        found: Any = result
        for key in keys:
            found = found[key]
        if value != {}:
            assert found == value
    assert merge(own, overrides({"a": None})) == own


@given(TREES)
def test_canonical_json_has_one_form(tree: dict[str, Any]) -> None:
    """The order of keys and the white space of the source don't matter, and it reads back."""
    text = json.dumps(tree, indent=3)
    turned = json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert canonical(turned) == canonical(tree)
    assert json.loads(canonical(tree)) == tree


def test_canonical_json_is_what_the_documents_say() -> None:
    """Sorted, compact, UTF-8."""
    assert canonical({"b": [1, 2.5], "a": "grün\n"}) == '{"a":"grün\\n","b":[1,2.5]}'.encode()
    for value in (float("nan"), float("inf"), "\ud800"):
        with pytest.raises(ValueError, match=r"."):
            canonical({"a": value})
