"""Writes a Piper voice with random weights: it speaks noise, and costs what a voice of quality "medium" costs.

Its parts and their sizes are those that piper-tts trains "medium" voices with (the defaults of its
`piper/train/vits/lightning.py`): a text encoder of six attention layers, 192 wide; a flow of four couplings; and a
HiFi-GAN decoder that goes up by 8, 8 and 4 from 256 channels, with residual blocks of kernels 3, 5 and 7. A second
has 22,050 samples, 256 to a frame. By `VoiceShape.multiply_adds_per_s` that takes 2.7 thousand million multiply-adds:
1.95 in the decoder, 0.61 in the flow, the rest in the encoder. 15 million parameters take 61 MB, where Piper's own
"medium" files have 63. What is left out is the small network that guesses durations: every phoneme lasts equally long.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent.bench.extras import need

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 22_050
_HOP = 256
_UPSAMPLING = ((8, 16), (8, 16), (4, 8))
"""Factor and kernel of each of the decoder's stages; together they make a frame's 256 samples."""
_KERNELS = ((3, (1, 2)), (5, (2, 6)), (7, (3, 12)))
"""Kernel and dilations of the residual blocks after each stage."""
_FLOW_LAYERS = 4
_FRAMES_PER_ID = 3.3
"""English has about 13 phonemes a second, and Piper puts a pad after each: 26 ids to 86 frames."""
_OPSET = 17
_IR_VERSION = 8
_SYMBOLS = 256


@dataclass(frozen=True, slots=True)
class VoiceShape:
    """Sizes of a voice; the default is Piper's "medium"."""

    width: int = 192
    wide: int = 768
    layers: int = 6
    couplings: int = 4
    decoder: int = 256

    @property
    def multiply_adds_per_s(self) -> float:
        """Multiplications with addition that a second of audio takes, attention's own and activations left out."""
        layer = 4 * self.width**2 + 2 * 3 * self.width * self.wide
        encoder = (self.layers * layer + 2 * self.width**2) / _FRAMES_PER_ID
        coupling = self.width**2 + _FLOW_LAYERS * (2 * 5 + 2) * self.width**2
        decoder = 7 * self.width * self.decoder
        channels, factor = self.decoder, 1
        for up, kernel in _UPSAMPLING:
            decoder += factor * channels * (channels // 2) * kernel
            channels, factor = channels // 2, factor * up
            decoder += factor * channels**2 * sum(kernel * len(dilations) for kernel, dilations in _KERNELS)
        decoder += factor * channels * 7
        return (encoder + self.couplings * coupling + decoder) * RATE_HZ / _HOP


TINY = VoiceShape(width=16, wide=32, layers=1, couplings=1, decoder=16)
"""For tests."""


def write_voice(path: Path, shape: VoiceShape | None = None, seed: int = 1) -> None:
    """Write `path` (.onnx) and the settings beside it (.onnx.json), as Piper wants them.

    Raises:
        EngineError: The `onnx` package or Piper is not installed.
    """
    onnx = need("onnx")
    ids = need("piper.phoneme_ids", "piper").DEFAULT_PHONEME_ID_MAP
    model = _Graph(onnx, seed).voice(shape or VoiceShape())
    onnx.checker.check_model(model)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(model.SerializeToString())
    part.replace(path)
    settings = {
        "audio": {"sample_rate": RATE_HZ, "quality": "medium"},
        "espeak": {"voice": "en-us"},
        "phoneme_type": "espeak",
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "num_symbols": _SYMBOLS,
        "num_speakers": 1,
        "hop_length": _HOP,
        "phoneme_id_map": ids,
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(settings), encoding="utf-8")


class _Graph:
    """Puts nodes one after the other. Methods take and return names of values, of shape [1, channels, time]."""

    def __init__(self, onnx: Any, seed: int) -> None:  # noqa: ANN401
        self._onnx = onnx
        self._numpy: Any = need("numpy")
        self._random = self._numpy.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._count = 0

    def voice(self, shape: VoiceShape) -> Any:  # noqa: ANN401
        """Return the model."""
        at = self._encoder(shape)
        at = self._lengthened(at)
        at = self._noisy(at)
        for _ in range(shape.couplings):
            at = self._coupling(at, shape.width)
        at = self._decoder(at, shape)
        self._node("Unsqueeze", at, self._constant([1]), name="output")
        helper, kind = self._onnx.helper, self._onnx.TensorProto
        graph = helper.make_graph(
            self._nodes,
            "voice",
            [
                helper.make_tensor_value_info("input", kind.INT64, [1, "phonemes"]),
                helper.make_tensor_value_info("input_lengths", kind.INT64, [1]),
                helper.make_tensor_value_info("scales", kind.FLOAT, [3]),
            ],
            [helper.make_tensor_value_info("output", kind.FLOAT, [1, 1, 1, "samples"])],
            self._constants,
        )
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)

    def _encoder(self, shape: VoiceShape) -> str:
        at = self._node("Gather", self._weights(_SYMBOLS, shape.width, fan_in=1), "input")
        at = self._turned(at)
        for _ in range(shape.layers):
            query, key, value = (self._conv(at, shape.width, shape.width) for _ in range(3))
            scores = self._node("MatMul", self._turned(query), key)
            scores = self._node("Mul", scores, self._constant([shape.width**-0.5], "float32"))
            share = self._node("Softmax", scores, axis=-1)
            mixed = self._turned(self._node("MatMul", share, self._turned(value)))
            at = self._normed(self._node("Add", at, self._conv(mixed, shape.width, shape.width)), shape.width)
            wide = self._node("Relu", self._conv(at, shape.width, shape.wide, 3))
            at = self._normed(self._node("Add", at, self._conv(wide, shape.wide, shape.width, 3)), shape.width)
        # VITS computes mean and variance here; the variance is computed and used for the noise's size.
        mean = self._conv(at, shape.width, shape.width)
        spread = self._node("Sigmoid", self._conv(at, shape.width, shape.width))
        return self._node("Add", mean, spread)

    def _lengthened(self, at: str) -> str:
        """Repeat every phoneme for as many frames as it lasts, `length_scale` included."""
        length_scale = self._node("Gather", "scales", self._constant(1), axis=0)
        per_id = self._node("Mul", length_scale, self._constant(_FRAMES_PER_ID, "float32"))
        ids = self._node("Gather", self._node("Shape", "input"), self._constant(1), axis=0)
        frames = self._node("Ceil", self._node("Mul", self._cast(ids, "FLOAT"), per_id))
        numbers = self._node("Range", self._constant(0), self._cast(frames, "INT64"), self._constant(1))
        which = self._cast(self._node("Floor", self._node("Div", self._cast(numbers, "FLOAT"), per_id)), "INT64")
        last = self._node("Sub", ids, self._constant(1))
        return self._node("Gather", at, self._node("Min", which, last), axis=2)

    def _noisy(self, at: str) -> str:
        noise_scale = self._node("Gather", "scales", self._constant(0), axis=0)
        noise = self._node("RandomNormalLike", at, seed=1.0)
        return self._node("Add", at, self._node("Mul", noise, noise_scale))

    def _coupling(self, at: str, width: int) -> str:
        """Change one half of the channels by what a small network makes of the other."""
        half = width // 2
        kept = self._node("Slice", at, self._constant([0]), self._constant([half]), self._constant([1]))
        changed = self._node("Slice", at, self._constant([half]), self._constant([width]), self._constant([1]))
        hidden = self._conv(kept, half, width)
        total = None
        for _ in range(_FLOW_LAYERS):
            both = self._conv(hidden, width, 2 * width, 5)
            gate = self._node("Slice", both, self._constant([0]), self._constant([width]), self._constant([1]))
            value = self._node("Slice", both, self._constant([width]), self._constant([2 * width]), self._constant([1]))
            gated = self._node("Mul", self._node("Tanh", value), self._node("Sigmoid", gate))
            hidden = self._node("Add", hidden, self._conv(gated, width, width))
            skipped = self._conv(gated, width, width)
            total = skipped if total is None else self._node("Add", total, skipped)
        shift = self._conv(str(total), width, half)
        # The halves change places, so that the next coupling changes the other one.
        return self._node("Concat", self._node("Sub", changed, shift), kept, axis=1)

    def _decoder(self, at: str, shape: VoiceShape) -> str:
        channels = shape.decoder
        at = self._conv(at, shape.width, channels, 7)
        for factor, kernel in _UPSAMPLING:
            at = self._node("LeakyRelu", at, alpha=0.1)
            weights = self._weights(channels, channels // 2, kernel, fan_in=channels * kernel / factor)
            margin = (kernel - factor) // 2
            at = self._node("ConvTranspose", at, weights, strides=[factor], pads=[margin, margin])
            channels //= 2
            blocks = [self._residual(at, channels, *block) for block in _KERNELS]
            at = self._node("Mul", self._node("Sum", *blocks), self._constant([1 / len(blocks)], "float32"))
        at = self._node("LeakyRelu", at, alpha=0.01)
        return self._node("Tanh", self._conv(at, channels, 1, 7))

    def _residual(self, at: str, channels: int, kernel: int, dilations: tuple[int, ...]) -> str:
        for dilation in dilations:
            active = self._node("LeakyRelu", at, alpha=0.1)
            at = self._node("Add", at, self._conv(active, channels, channels, kernel, dilation))
        return at

    def _normed(self, at: str, width: int) -> str:
        scale = self._constant([1.0] * width, "float32")
        return self._turned(self._node("LayerNormalization", self._turned(at), scale, axis=-1))

    def _turned(self, at: str) -> str:
        return self._node("Transpose", at, perm=[0, 2, 1])

    def _cast(self, at: str, kind: str) -> str:
        return self._node("Cast", at, to=getattr(self._onnx.TensorProto, kind))

    def _conv(self, at: str, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> str:
        weights = self._weights(outputs, inputs, kernel, fan_in=2 * inputs * kernel)
        margin = (kernel - 1) // 2 * dilation
        return self._node("Conv", at, weights, pads=[margin, margin], dilations=[dilation])

    def _weights(self, *shape: int, fan_in: float) -> str:
        values = self._random.standard_normal(shape, dtype=self._numpy.float32) / self._numpy.float32(fan_in**0.5)
        return self._named_constant(values)

    def _constant(self, value: float | list[int] | list[float], kind: str = "int64") -> str:
        return self._named_constant(self._numpy.array(value, dtype=kind))

    def _named_constant(self, values: Any) -> str:  # noqa: ANN401
        name = self._fresh()
        self._constants.append(self._onnx.numpy_helper.from_array(values, name))
        return name

    def _node(self, operation: str, *inputs: str, name: str = "", **attributes: object) -> str:
        name = name or self._fresh()
        self._nodes.append(self._onnx.helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def _fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"
