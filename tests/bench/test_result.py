"""The form of what a benchmark found."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.bench.result import (
    Findings,
    Reference,
    at_least,
    at_most,
    less_than,
    linear_fit,
    percentile,
)

_KEYS = {"name", "value", "unit", "goal", "reference", "samples"}


def test_the_document_has_the_documented_form() -> None:
    """One object of plain JSON; each result has the six keys, whether there is a goal, a reference, a value or not."""
    findings = Findings()
    findings.add("a.ratio", 1.23456789, "ratio", goal=at_most(2), reference=Reference("plain", 3.0, "us"), samples=5)
    findings.add("a.bare", None, "ms")
    findings.add("a.odd", float("nan"), "ms")
    document = json.loads(json.dumps(findings.document("concurrency"), allow_nan=False))
    assert document.keys() == {"bench", "machine", "results"}
    assert document["bench"] == "concurrency"
    assert document["machine"]["cores"] >= 1
    first, bare, odd = document["results"]
    assert first == {
        "name": "a.ratio",
        "value": 1.2346,
        "unit": "ratio",
        "goal": "<= 2",
        "reference": {"what": "plain", "value": 3.0, "unit": "us"},
        "samples": 5,
    }
    assert bare.keys() == odd.keys() == _KEYS
    assert bare["value"] is odd["value"] is bare["goal"] is bare["reference"] is None


def test_goals_are_met_or_not() -> None:
    """At the limit itself as the relation says; nothing measured meets no goal; no goal is neither."""
    findings = Findings()
    findings.add("a", 2.0, "ratio", goal=at_most(2))
    findings.add("b", 2.0, "ratio", goal=less_than(2))
    findings.add("c", 2.0, "ratio", goal=at_least(2))
    findings.add("d", None, "ratio", goal=at_least(2))
    findings.add("e", 2.0, "ratio")
    assert [result.met for result in findings.results] == [True, False, True, False, None]
    assert findings.value("a") == 2.0
    with pytest.raises(KeyError):
        findings.value("z")


def test_percentiles_are_named_before_the_unit() -> None:
    """So that names are what the design says: `stop.prefill_p99_ms`."""
    findings = Findings()
    findings.add_percentiles("stop.prefill", [3.0, 1.0, 2.0], "ms", goals={99: at_most(150)})
    findings.add_percentiles("stop.nothing", [], "ms", shares=(50,))
    assert [(result.name, result.value) for result in findings.results] == [
        ("stop.prefill_p50_ms", 2.0),
        ("stop.prefill_p95_ms", 3.0),
        ("stop.prefill_p99_ms", 3.0),
        ("stop.nothing_p50_ms", None),
    ]
    assert [result.goal is not None for result in findings.results] == [False, False, True, False]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0.1, 100))
@settings(derandomize=True, deadline=None)
def test_a_percentile_is_the_smallest_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    """And one of the values."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values) - 1e-9
    assert sum(value < found for value in values) < share / 100 * len(values)


@given(st.floats(-50, 50), st.floats(-1e3, 1e3), st.integers(3, 40))
@settings(derandomize=True, deadline=None)
def test_a_line_is_found_again(slope: float, start: float, count: int) -> None:
    """Slope and intercept of points that lie on one."""
    xs = [float(at) for at in range(count)]
    found, at_zero = linear_fit(xs, [start + slope * x for x in xs])
    assert found == pytest.approx(slope, abs=1e-6)
    assert at_zero == pytest.approx(start, abs=1e-6)
