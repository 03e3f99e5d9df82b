"""What doctor says of the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from doctor_rig import paper

from edge_agent.app.doctor.clock import check_clock, is_synchronised


@pytest.mark.parametrize(
    ("year", "synchronised", "verdict"),
    [(2026, True, "ok"), (2026, None, "ok"), (2026, False, "warning"), (1970, False, "fault"), (2199, True, "fault")],
)
def test_the_year_and_whether_it_is_kept_right(
    tmp_path: Path, year: int, synchronised: bool | None, verdict: str
) -> None:
    """A board without a clock module that found no network starts in 1970."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    found = check_clock(
        paper(tmp_path), now=lambda: datetime(year, 5, 1, tzinfo=UTC), synchronised=lambda: synchronised
    )
    assert found.verdict == verdict
    assert "Europe/Berlin" in found.message
    assert ("set-ntp" in found.remedy) is (verdict != "ok")


def test_the_kernel_answers() -> None:
    """With yes or no: reading needs no rights."""
    assert is_synchronised() in {True, False}
