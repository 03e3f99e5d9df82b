"""Which devices try a change first."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import BadInputError
from edge_agent.fleet.errors import CanaryError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from edge_agent.fleet.device import Device
    from edge_agent.fleet.document import Edit


@dataclass(frozen=True, slots=True)
class Share:
    """So many devices, or so many per cent of them."""

    amount: float
    is_percent: bool

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read `5` or `2.5%`.

        Raises:
            BadInputError: It is neither.
        """
        match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(%?)", text.strip())
        amount = float(match[1]) if match else 0.0
        is_percent = match is not None and match[2] == "%"
        if amount <= 0 or (is_percent and amount > 100) or (not is_percent and amount != int(amount)):  # noqa: PLR2004
            raise BadInputError(f"{text!r} is neither a number of devices, such as 3, nor a share, such as 5%")
        return cls(amount, is_percent)

    def of(self, count: int) -> int:
        """Return how many of `count` that are: at least one."""
        return max(1, math.ceil(self.amount / 100 * count) if self.is_percent else int(self.amount))


def choose(
    members: Sequence[Device],
    share: Share | None,
    named: Sequence[str],
    edits: Sequence[Edit],
    *,
    under_way: Collection[str] = (),
    overriding: Collection[str] = (),
) -> list[str]:
    """Return the canaries' ids: those `named`, or a share of those online, always the same ones for the same change.

    Args:
        members: Devices that the whole rollout is for.
        share: How many; None: just those named.
        named: Ids.
        edits: The change; its keys decide who is chosen, so that it is not always the same who suffer.
        under_way: Devices that have this change already, from a run before; they are taken first.
        overriding: Devices whose own document sets one of these keys to something else: what the whole fleet gets
            would not reach them, so that they prove nothing.

    Raises:
        CanaryError: There are not so many.
    """
    online = {device.id for device in members if device.online}
    if absent := [device for device in named if device not in online and device not in under_way]:
        raise CanaryError(f"canary {', '.join(sorted(absent))}: not online, or not a device that the rollout is for")
    if own := [device for device in named if device in overriding]:
        raise CanaryError(f"canary {', '.join(sorted(own))}: its own document sets one of these keys; take another one")
    if share is None:
        return list(dict.fromkeys(named))
    wanted = share.of(len(members))
    free = (online - set(overriding)) | {device.id for device in members if device.id in under_way}
    if wanted > len(free):
        raise CanaryError(
            f"{wanted} canaries are wanted, and {len(free)} of {len(members)} devices are online "
            "and have none of these keys in a document of their own"
        )
    keys = ",".join(sorted(edit.key for edit in edits))
    ordered = sorted(
        free - set(named),
        key=lambda device: (device not in under_way, hashlib.sha256(f"{keys}/{device}".encode()).digest()),
    )
    return [*dict.fromkeys(named), *ordered][: max(wanted, len(named))]
