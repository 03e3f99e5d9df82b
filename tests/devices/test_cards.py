"""Names of sound cards that stay, on boards on paper: what the kernel and udev write, as they write it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from boards import Board

from edge_agent.devices import portaudio
from edge_agent.devices.cards import is_numbered, is_there, look_up, read_cards, stable_name
from edge_agent.devices.portaudio import AudioDevice, choose_device
from edge_agent.errors import DeviceError, UnknownDeviceError

DONGLE = ("USB PnP Sound Device", "0d8c:013c")
CODEC = ("USB Audio CODEC", "08bb:2902")


class SoundBoard(Board):
    """A board whose cards come and go."""

    def cards(self, *cards: tuple[str, str, str, str, str], serials: tuple[str, ...] = ()) -> None:
        """Write `/proc/asound` and sysfs for cards of (id, name, driver, USB id, port), numbered from 0."""
        lines: list[str] = []
        for number, (card_id, name, driver, usb_id, port) in enumerate(cards):
            lines.append(f"{number:2d} [{card_id:<15}]: {driver} - {name}")
            lines.append(
                f"                      {name} at usb-0000:01:00.0-{port}, full speed" if port else f"  {name}"
            )
            if usb_id:
                self.write(f"proc/asound/card{number}/usbid", usb_id)
                device = self.root / f"sys/devices/usb/{port}/{port}:1.0"
                device.mkdir(parents=True, exist_ok=True)
                link = self.root / f"sys/class/sound/card{number}/device"
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(device)
                if number < len(serials) and serials[number]:
                    self.write(f"sys/devices/usb/{port}/serial", serials[number])
        self.write("proc/asound/cards", "\n".join(lines) or "--- no soundcards ---")

    def link(self, name: str, number: int) -> None:
        """Make a link of udev's."""
        link = self.root / "dev/snd" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(f"../controlC{number}")


def usb(card_id: str, port: str, kind: tuple[str, str] = DONGLE) -> tuple[str, str, str, str, str]:
    """A USB card at a port."""
    return card_id, kind[0], "USB-Audio", kind[1], port


HEADPHONES = ("Headphones", "bcm2835 Headphones", "bcm2835_headpho", "", "")


@pytest.fixture
def board(tmp_path: Path) -> SoundBoard:
    """A board without cards."""
    return SoundBoard(tmp_path)


def test_cards_are_read_as_the_kernel_writes_them(board: SoundBoard) -> None:
    """Number, id, name, place, USB identity, and udev's names for them."""
    board.cards(HEADPHONES, usb("Device", "1-1.3"), serials=("", "A1B2"))
    board.link("by-id/usb-C-Media_USB_PnP_Sound_Device-00", 1)
    board.link("by-path/platform-xhci-usb-0:1.3:1.0", 1)
    headphones, dongle = read_cards(board.root)
    assert (headphones.number, headphones.id, headphones.name) == (0, "Headphones", "bcm2835 Headphones")
    assert (headphones.usb_id, headphones.serial, headphones.links) == ("", "", ())
    assert (dongle.id, dongle.usb_id, dongle.serial) == ("Device", "0d8c:013c", "A1B2")
    assert dongle.place.endswith("at usb-0000:01:00.0-1-1.3, full speed")
    assert dongle.links == ("by-id/usb-C-Media_USB_PnP_Sound_Device-00", "by-path/platform-xhci-usb-0:1.3:1.0")


@pytest.mark.parametrize("text", ["", "--- no soundcards ---", "garbage\n 1 [", "\x00\xff"])
def test_what_makes_no_sense_is_no_card(board: SoundBoard, text: str) -> None:
    """A container without sound, a kernel without ALSA."""
    assert read_cards(board.root) == ()
    board.write("proc/asound/cards", text)
    assert read_cards(board.root) == ()


def test_a_card_that_is_alone_of_its_kind_is_named_by_its_id(board: SoundBoard) -> None:
    """Whatever its number; a second device on it is named, too. What is no hardware keeps its own name."""
    board.cards(HEADPHONES, usb("Device", "1-1.3"), usb("CODEC", "1-1.4", CODEC))
    cards = read_cards(board.root)
    assert stable_name("USB PnP Sound Device: Audio (hw:1,0)", cards) == "hw:CARD=Device"
    assert stable_name("USB Audio CODEC: #1 (hw:2,1)", cards) == "hw:CARD=CODEC,DEV=1"
    assert stable_name("pulse", cards) == "pulse"
    assert stable_name("Unplugged: Audio (hw:7,0)", cards) == "Unplugged: Audio (hw:7,0)"


@pytest.mark.parametrize(
    ("serials", "names"),
    [
        (("one", "two"), ("by-id/usb-Mic_one-00", "by-id/usb-Mic_two-00")),
        (("same", "same"), ("by-path/usb-0:1.1", "by-path/usb-0:1.2")),
        (("one", ""), ("by-path/usb-0:1.1", "by-path/usb-0:1.2")),
    ],
    ids=["by serial number", "same serial number", "one without"],
)
def test_two_equal_microphones_are_told_apart(
    board: SoundBoard, serials: tuple[str, str], names: tuple[str, str]
) -> None:
    """By their serial numbers, else by their ports: the kernel's `Device` and `Device_1` go by the order of coming."""
    board.cards(usb("Device", "1-1.1"), usb("Device_1", "1-1.2"), serials=serials)
    for number, serial in enumerate(serials):
        board.link(f"by-id/usb-Mic_{serial}-00", number)
        board.link(f"by-path/usb-0:1.{number + 1}", number)
    cards = read_cards(board.root)
    listed = ("USB PnP Sound Device: Audio (hw:0,0)", "USB PnP Sound Device: Audio (hw:1,0)")
    assert tuple(stable_name(name, cards) for name in listed) == names
    for number, name in enumerate(names):
        found = look_up(f"/dev/snd/{name}", cards)
        assert found is not None
        assert found.number == number


def test_without_udev_the_id_is_the_best_there_is(board: SoundBoard) -> None:
    """Nothing is made up."""
    board.cards(usb("Device", "1-1.1"), usb("Device_1", "1-1.2"))
    assert stable_name("USB PnP Sound Device: Audio (hw:1,0)", read_cards(board.root)) == "hw:CARD=Device_1"


@pytest.mark.parametrize(
    ("wanted", "numbered"),
    [
        ("3", True),
        ("USB Audio (hw:1,0)", True),
        ("plughw:1", True),
        ("hw:CARD=Device", False),
        ("by-path/usb-0:1.2:1.0", False),
        ("default", False),
        ("USB 2.0 Camera", False),
    ],
)
def test_numbers_are_known_for_what_they_are(wanted: str, numbered: bool) -> None:
    """So that their owner can be warned."""
    assert is_numbered(wanted) is numbered


def test_a_card_that_has_another_number_is_another_one(board: SoundBoard) -> None:
    """PortAudio's list is older than the kernel's: what was card 1 is card 2 now, and card 1 a camera."""
    board.cards(HEADPHONES, ("Camera", "USB Camera", "USB-Audio", "1234:5678", "1-1.1"), usb("Device", "1-1.3"))
    cards = read_cards(board.root)
    assert not is_there("USB PnP Sound Device: Audio (hw:1,0)", cards)
    assert is_there("USB PnP Sound Device: Audio (hw:2,0)", cards)
    assert not is_there("USB PnP Sound Device: Audio (hw:3,0)", cards)
    assert is_there("pulse", cards)
    assert is_there("anything (hw:1,0)", ())


class Sockets:
    """What PortAudio lists of a board, which is looked at when asked to."""

    def __init__(self, board: SoundBoard, monkeypatch: pytest.MonkeyPatch) -> None:
        self._board = board
        self.listed: tuple[AudioDevice, ...] = ()
        monkeypatch.setattr(portaudio, "list_devices", lambda: self.listed)
        monkeypatch.setattr(portaudio, "read_cards", lambda: read_cards(board.root))

    def refresh(self) -> None:
        """Look again."""
        self.listed = tuple(
            AudioDevice(index, f"{card.name}: Audio (hw:{card.number},0)", "ALSA", 1, 2, 48_000, False, False)  # noqa: FBT003
            for index, card in enumerate(read_cards(self._board.root))
        )


def test_a_microphone_is_found_whatever_its_number_is(board: SoundBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugged in again it comes behind another card; until devices are looked for again it is absent, never another."""
    sockets = Sockets(board, monkeypatch)
    board.cards(HEADPHONES, usb("Device", "1-1.3"))
    sockets.refresh()
    for wanted in ("hw:CARD=Device", "hw:card=device,dev=0", "plughw:CARD=Device", "pnp"):
        assert choose_device("microphone", wanted).name == "USB PnP Sound Device: Audio (hw:1,0)"

    board.cards(HEADPHONES, ("Camera", "USB Camera", "USB-Audio", "1234:5678", "1-1.1"), usb("Device", "1-1.3"))
    with pytest.raises(UnknownDeviceError, match="no microphone matches 'hw:CARD=Device'"):
        choose_device("microphone", "hw:CARD=Device")
    with pytest.raises(DeviceError, match="is gone, or has another number"):
        choose_device("microphone", "pnp")
    sockets.refresh()
    for wanted in ("hw:CARD=Device", "pnp"):
        assert choose_device("microphone", wanted).name == "USB PnP Sound Device: Audio (hw:2,0)"


def test_equal_microphones_keep_their_places(board: SoundBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart they come in the other order, with each other's ids: by their ports they are found again."""
    sockets = Sockets(board, monkeypatch)
    for first, second in (("1-1.1", "1-1.2"), ("1-1.2", "1-1.1")):
        board.cards(usb("Device", first), usb("Device_1", second))
        for number, port in enumerate((first, second)):
            board.link(f"by-path/usb-{port}", number)
        sockets.refresh()
        number = (first, second).index("1-1.2")
        chosen = choose_device("microphone", "by-path/usb-1-1.2")
        assert chosen.name.endswith(f"(hw:{number},0)")
    with pytest.raises(UnknownDeviceError):
        choose_device("microphone", "by-path/usb-1-1.7")


def test_cards_that_come_and_go_are_noticed(board: SoundBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against those that there were when PortAudio looked for devices, from its first look on."""
    monkeypatch.setattr(portaudio, "read_cards", lambda: read_cards(board.root))
    monkeypatch.setattr(portaudio, "_library", library := portaudio._Library())
    assert not portaudio.devices_changed()
    board.cards(HEADPHONES)
    with contextlib.suppress(DeviceError):  # without PortAudio there is nothing to look with
        library.module()
    assert not portaudio.devices_changed()
    board.cards(HEADPHONES, usb("Device", "1-1.3"))
    assert portaudio.devices_changed()
    library.restart()
    assert not portaudio.devices_changed()
    board.cards(HEADPHONES)
    assert portaudio.devices_changed()
