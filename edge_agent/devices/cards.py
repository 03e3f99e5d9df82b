"""Sound cards as the kernel knows them, and names for them that stay when numbers change.

ALSA numbers cards in the order in which they are found: a microphone that is plugged in again, or a board that starts
anew, may have another number. What stays is the card's id, unless two cards are alike; then what stays is the serial
number that a USB device has, or else the port that it is plugged into. udev makes links of both, below `/dev/snd`.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.runtime.topology import KernelFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)

_CARD = re.compile(r"^ *(\d{1,3}) \[(\S+) *\]: (\S+) - (.*)$")
"""A card's first line in `/proc/asound/cards` (sound/core/init.c, `snd_card_info_read`)."""
_HARDWARE = re.compile(r" \(hw:(\d{1,3}),(\d{1,3})\)$")
"""The end of the name that PortAudio gives to an ALSA device (`pa_linux_alsa.c`: "card: device (hw:1,0)")."""
_NAMED = re.compile(r"^(?:plug)?hw:CARD=([^,]+)(?:,DEV=(\d{1,3}))?$", re.IGNORECASE)
_LINKED = re.compile(r"^(?:/dev/snd/)?(by-id|by-path)/([^/,]+)(?:,DEV=(\d{1,3}))?$")
_NUMBERED = re.compile(r"^\d+$|hw:\d")
_LINKS = ("by-id", "by-path")
_CONTROL = re.compile(r"controlC(\d{1,3})$")
_TWIN = re.compile(r"_\d+$")
"""What the kernel puts behind the id of a card whose id another one has already."""


@dataclass(frozen=True, slots=True)
class SoundCard:
    """A card at this moment.

    Attributes:
        number: Changes.
        id: ALSA's name for it, such as `Device`.
        name: Its maker's, such as `USB PnP Sound Device`.
        place: The kernel's longer description; of a USB device it names the port.
        usb_id: Vendor and product, such as `0d8c:013c`; empty for what is not USB.
        serial: Of a USB device that has one.
        links: udev's names for it, such as `by-path/platform-…-usb-0:1.2:1.0`.
    """

    number: int
    id: str
    name: str
    place: str = ""
    usb_id: str = ""
    serial: str = ""
    links: tuple[str, ...] = ()

    def is_like(self, other: SoundCard) -> bool:
        """Whether the two can't be told apart by what they are."""
        if self.usb_id and self.usb_id == other.usb_id:
            return True
        return _TWIN.sub("", self.id) == _TWIN.sub("", other.id)


@dataclass(frozen=True, slots=True)
class CardName:
    """A stable name, looked up.

    Attributes:
        number: The card's number now; None while it is not there.
        device: The device on the card that is asked for; None: any.
    """

    number: int | None
    device: int | None


def read_cards(root: Path = Path("/")) -> tuple[SoundCard, ...]:
    """Return the cards that there are. Blocking, in memory alone; what the kernel does not tell is left empty."""
    files = KernelFiles(root)
    text = files.read("proc/asound/cards") or ""
    links = _read_links(root)
    cards: list[SoundCard] = []
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if (found := _CARD.match(line)) is None:
            continue
        number = int(found[1])
        device = f"sys/class/sound/card{number}/device"
        cards.append(
            SoundCard(
                number=number,
                id=found[2],
                name=found[4].strip(),
                place=lines[index + 1].strip() if index + 1 < len(lines) else "",
                usb_id=files.read(f"proc/asound/card{number}/usbid") or "",
                # The card hangs on one interface of the device, which lies above it.
                serial=files.read(f"{device}/../serial") or "",
                links=tuple(name for name, target in links if target == number),
            )
        )
    return tuple(cards)


def hardware_of(device: str) -> tuple[int, int] | None:
    """Return card and device number in PortAudio's name for a device; None where it leads through something else."""
    found = _HARDWARE.search(device)
    return None if found is None else (int(found[1]), int(found[2]))


def look_up(wanted: str, cards: Sequence[SoundCard]) -> CardName | None:
    """Return which card a stable name means; None where `wanted` is no such name."""
    if (found := _NAMED.match(wanted)) is not None:
        matching = [card.number for card in cards if card.id.casefold() == found[1].casefold()]
        device = found[2]
    elif (found := _LINKED.match(wanted)) is not None:
        link = f"{found[1]}/{found[2]}"
        matching = [card.number for card in cards if link in card.links]
        device = found[3]
    else:
        return None
    return CardName(matching[0] if matching else None, None if device is None else int(device))


def is_numbered(wanted: str) -> bool:
    """Whether a name in the configuration holds a number that changes when devices are plugged in or out."""
    return _NUMBERED.search(wanted) is not None


def is_there(device: str, cards: Sequence[SoundCard]) -> bool:
    """Whether the card in PortAudio's name for a device is still the one that it was; True where there is none in it.

    Where no card is known at all, as without procfs, nothing is doubted.
    """
    if (hardware := hardware_of(device)) is None or not cards:
        return True
    return any(card.number == hardware[0] and device.startswith(f"{card.name}: ") for card in cards)


def stable_name(device: str, cards: Sequence[SoundCard]) -> str:
    """Return the name for the configuration under which a device is found again, whatever its number is then.

    Args:
        device: PortAudio's name for it.
        cards: All that there are.
    """
    hardware = hardware_of(device)
    card = next((card for card in cards if hardware is not None and card.number == hardware[0]), None)
    if hardware is None or card is None:
        return device  # a name of ALSA's configuration, or of a sound server
    suffix = f",DEV={hardware[1]}" if hardware[1] else ""
    twins = [other for other in cards if other is not card and other.is_like(card)]
    if not twins:
        return f"hw:CARD={card.id}{suffix}"
    serials = [card.serial, *(twin.serial for twin in twins)]
    # Where serial numbers are missing or the same, udev's link by-id leads to whichever card came last.
    by_serial = all(serials) and len(set(serials)) == len(serials)
    for kind in ("by-id", "by-path") if by_serial else ("by-path",):
        for link in card.links:
            if link.startswith(f"{kind}/"):
                return f"{link}{suffix}"
    return f"hw:CARD={card.id}{suffix}"


def _read_links(root: Path) -> list[tuple[str, int]]:
    """Return udev's names of cards and the numbers that they lead to."""
    found: list[tuple[str, int]] = []
    for kind in _LINKS:
        directory = root / "dev/snd" / kind
        try:
            targets = [(link.name, _CONTROL.search(str(link.readlink()))) for link in sorted(directory.iterdir())]
        except OSError as error:  # no udev, or a card went this moment
            _log.debug("can't list %s: %s", directory, error.strerror)
        else:
            found += [(f"{kind}/{name}", int(target[1])) for name, target in targets if target is not None]
    return found
