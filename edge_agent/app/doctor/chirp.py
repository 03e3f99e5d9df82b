"""A sweep that is told from all noise, and what became of it between loudspeaker and microphone. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LENGTH_S = 0.6
_LOW_HZ, _HIGH_HZ = 300.0, 6000.0
"""What small loudspeakers give and a microphone at 16 kHz takes."""
_EDGE_S = 0.02
PEAK = 0.4
"""Of full scale: heard, and no fright."""
_CERTAIN = 9.0
"""How far the correlation's peak has to stand above its RMS elsewhere. Noise of as many lags reaches 4.5 by chance
(the expected maximum of n normal values is the square root of 2 ln n), and coloured noise 6 (measured)."""
_ASIDE_S = 0.05
"""Around the peak, what belongs to it: the sweep's side lobes and a room's first reflections."""
_LEAST_POWER = 1e-12


@dataclass(frozen=True, slots=True)
class Echo:
    """What came back.

    Attributes:
        delay_s: From the recording's first sample to the sweep's first.
        coupling_db: How loud it came back, against how loud it was given out, by its energy: the room's reverberation
            counts. 0 dB is a wire.
        certainty: How far it stands above everything else; below `_CERTAIN` it is not reported.
    """

    delay_s: float
    coupling_db: float
    certainty: float


def sweep(rate_hz: int) -> NDArray[np.float64]:
    """Return the sweep, -1 to 1 times `PEAK`: its pitch rises by equal intervals in equal times."""
    import numpy as np

    times = np.arange(round(LENGTH_S * rate_hz)) / rate_hz
    octaves = math.log(_HIGH_HZ / _LOW_HZ)
    phase = 2 * np.pi * _LOW_HZ * LENGTH_S / octaves * (np.exp(times / LENGTH_S * octaves) - 1)
    edges = np.clip(np.minimum(times, LENGTH_S - times) / _EDGE_S, 0, 1)
    sound: NDArray[np.float64] = PEAK * np.sin(phase) * np.sin(edges * np.pi / 2) ** 2
    return sound


def find_echo(recording: NDArray[np.float64], rate_hz: int, gain: float = 1.0) -> Echo | None:
    """Return where in `recording` (-1 to 1) the sweep is, and how loud; None where it is not certainly there.

    Args:
        recording: At least as long as the sweep; what comes before it tells the noise.
        rate_hz: Of the recording.
        gain: What the sweep was multiplied by before it was given out, such as the volume.
    """
    import numpy as np

    probe = sweep(rate_hz)
    lags = len(recording) - len(probe) + 1
    if lags < 2 or not np.any(recording):  # noqa: PLR2004 - nothing to compare a peak with
        return None
    size = 1 << (len(recording) + len(probe)).bit_length()
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(probe, size))
    match = np.abs(np.fft.irfft(spectrum, size)[:lags])
    at = int(match.argmax())
    aside = round(_ASIDE_S * rate_hz)
    elsewhere = np.concatenate((match[: max(0, at - aside)], match[at + aside :]))
    rms = float(np.sqrt(np.mean(elsewhere**2))) if len(elsewhere) else 0.0
    certainty = float(match[at]) / rms if rms > 0 else math.inf
    if certainty < _CERTAIN:
        return None
    return Echo(at / rate_hz, _coupling_db(recording, probe * gain, at), min(certainty, 1e6))


def _coupling_db(recording: NDArray[np.float64], given: NDArray[np.float64], at: int) -> float:
    """Compare energies, less that of the noise, which is what came before the sweep."""
    import numpy as np

    heard = float(np.mean(recording[at : at + len(given)] ** 2))
    noise = float(np.mean(recording[:at] ** 2)) if at else 0.0
    played = float(np.mean(given**2))
    return 10 * math.log10(max(heard - noise, _LEAST_POWER) / max(played, _LEAST_POWER))
