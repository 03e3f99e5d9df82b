"""Writes a language model with random weights: what it says means nothing, what it costs is real."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from edge_agent.bench.extras import need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_CONTROLS = ("<unk>", "<s>", "</s>")
_BYTES = 256
_BLOCK = 32
"""Weights that share a scale in Q8_0; 34 bytes: a 16-bit scale and 32 signed ones."""
_SPREAD = 73.3
"""Standard deviation of whole numbers drawn evenly from -127 to 127."""
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
"""Kinds of tokens, by llama.cpp's numbers."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a Llama; the default is that of SmolLM-135M: 134.5 million parameters, 8 bits each.

    `width`, `feed_forward` and `width / heads` times `key_heads` are multiples of 32, for Q8_0's sake.
    """

    layers: int = 30
    width: int = 576
    heads: int = 9
    key_heads: int = 3
    feed_forward: int = 1536
    words: int = 49_152
    context_tokens: int = 4096

    @property
    def parameters(self) -> int:
        """Number of weights; the embedding also serves as the output."""
        key_width = self.width // self.heads * self.key_heads
        layer = 2 * self.width**2 + 2 * self.width * key_width + 3 * self.width * self.feed_forward + 2 * self.width
        return self.words * self.width + self.layers * layer + self.width


TINY = ModelShape(layers=2, width=64, heads=2, key_heads=1, feed_forward=96, words=512)
"""For tests."""


def write_model(path: Path, shape: ModelShape | None = None, seed: int = 1, *, in_pieces: bool = False) -> None:
    """Write a GGUF file that llama.cpp loads, tokenizes with and continues for ever.

    The output's rows of control and byte tokens are zero while the others are random, so that among so many the
    likeliest are always words: an answer never ends by itself.

    Text is read a token a character. With `in_pieces` it is read in pieces of up to three letters, as far as the
    vocabulary is large enough for them: English then has about 1.7 tokens a word, where trained vocabularies have 1.3.

    Raises:
        EngineError: The `gguf` package is not installed.
    """
    gguf: Any = need("gguf")
    numpy: Any = need("numpy")
    shape = shape or ModelShape()
    random = numpy.random.default_rng(seed)
    part = path.with_name(f"{path.name}.part")
    writer = gguf.GGUFWriter(part, "llama")
    writer.add_name("random")
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _add_tokenizer(writer, shape.words, in_pieces=in_pieces)
    q8 = gguf.GGMLQuantizationType.Q8_0
    for name, rows, columns in _matrices(shape):
        blocks = _random_blocks(numpy, random, rows, columns)
        if name == "token_embd.weight":
            blocks[: len(_CONTROLS) + _BYTES] = 0
        writer.add_tensor(name, blocks, raw_dtype=q8)
    for name in _norms(shape):
        writer.add_tensor(name, numpy.ones(shape.width, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)


def _add_tokenizer(writer: Any, words: int, *, in_pieces: bool) -> None:  # noqa: ANN401 - gguf is not followed
    tokens = [*_CONTROLS, *(f"<0x{number:02X}>" for number in range(_BYTES))]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * _BYTES]
    for _, word in zip(range(len(tokens), words), _vocabulary(in_pieces=in_pieces), strict=False):
        tokens.append(word)
        kinds.append(_NORMAL)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(at) for at in range(len(tokens))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def _vocabulary(*, in_pieces: bool) -> Iterator[str]:
    """Yield the characters of plain text, pieces of words if wanted, then made-up words after a space, without end."""
    yield "▁"
    yield from (chr(code) for code in range(0x21, 0x7F))
    yielded = set()
    if in_pieces:
        # The tokenizer joins two neighbours at a time, whose union has to be a token; earlier ones win.
        for beginning, most in (("▁", 3), ("", 3)):
            for length in range(1 if beginning else 2, most + 1):
                for letters in product(ascii_lowercase, repeat=length):
                    piece = beginning + "".join(letters)
                    yielded.add(piece)
                    yield piece
    size = len(_SYLLABLES)
    number = 0
    while True:
        word, left = "", number
        while True:
            left, digit = divmod(left, size)
            word += _SYLLABLES[digit]
            if not left:
                break
            left -= 1
        if f"▁{word}" not in yielded:
            yield f"▁{word}"
        number += 1


def _matrices(shape: ModelShape) -> Iterator[tuple[str, int, int]]:
    """Yield name, outputs and inputs of each matrix."""
    width, wide = shape.width, shape.feed_forward
    key_width = width // shape.heads * shape.key_heads
    yield "token_embd.weight", shape.words, width
    for layer in range(shape.layers):
        for part, rows, columns in (
            ("attn_q", width, width),
            ("attn_k", key_width, width),
            ("attn_v", key_width, width),
            ("attn_output", width, width),
            ("ffn_gate", wide, width),
            ("ffn_up", wide, width),
            ("ffn_down", width, wide),
        ):
            yield f"blk.{layer}.{part}.weight", rows, columns


def _norms(shape: ModelShape) -> Iterator[str]:
    for layer in range(shape.layers):
        yield f"blk.{layer}.attn_norm.weight"
        yield f"blk.{layer}.ffn_norm.weight"
    yield "output_norm.weight"


def _random_blocks(numpy: Any, random: Any, rows: int, columns: int) -> np.ndarray[Any, Any]:  # noqa: ANN401
    """Return a matrix in Q8_0, of a size that keeps what passes through it as large as it was."""
    blocks = numpy.empty((rows, columns // _BLOCK, 2 + _BLOCK), dtype=numpy.uint8)
    scale = numpy.array([1 / (_SPREAD * columns**0.5)], dtype=numpy.float16)
    blocks[:, :, :2] = scale.view(numpy.uint8)
    blocks[:, :, 2:] = random.integers(-127, 128, (rows, columns // _BLOCK, _BLOCK), dtype=numpy.int8).view(numpy.uint8)
    result: np.ndarray[Any, Any] = blocks.reshape(rows, -1)
    return result
