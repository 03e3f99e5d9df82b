"""`doctor`: what keeps this device from hearing, speaking and running well, and what to do about it."""

from __future__ import annotations

from edge_agent.app.doctor.checks import make_checks
from edge_agent.app.doctor.examining import NamedCheck, examine
from edge_agent.app.doctor.result import Check, CheckResult, Surroundings, Verdict

__all__ = ["Check", "CheckResult", "NamedCheck", "Surroundings", "Verdict", "examine", "make_checks"]
