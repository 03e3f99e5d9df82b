"""llama.cpp while it runs: changing grants, stops at any moment, jobs that take turns, a warm beginning."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_agent.config.engines import LlmConfig
from edge_agent.engines.llama import LlamaLanguageModel
from edge_agent.engines.llama_native import StopFlag
from edge_agent.engines.llama_session import LlamaSession
from edge_agent.reason.llm import ChatMessage
from edge_agent.runtime.ledger import FixedGrant

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from edge_agent.runtime.ledger import ComputeGrant

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

_SYSTEM = ChatMessage("system", "You tell stories. Once upon a time there was a cat. " * 8)
_CHAT = (_SYSTEM, ChatMessage("user", "Tell me of a dog named Tim."))
_OTHER = (ChatMessage("system", "Be brief."), ChatMessage("user", "Lily saw a big red ball in the park. " * 6))


class ChangingGrant:
    """Gives the numbers of threads that the function says, step by step."""

    def __init__(self, threads: Callable[[int], int]) -> None:
        self.threads = 1
        self.steps = 0
        self._next = threads

    def commit(self) -> int:
        """Take the next number over."""
        self.threads = self._next(self.steps)
        self.steps += 1
        return self.threads


@pytest.fixture(scope="module")
def gguf(models_dir: Path) -> Path:
    """The model's file."""
    return models_dir / "llm" / "stories260K.gguf"


def loaded(
    gguf: Path, grant: ComputeGrant | None = None, cache: Path | None = None, **more: object
) -> LlamaLanguageModel:
    """Return a loaded model; greedy unless told otherwise."""
    config = LlmConfig.model_validate({"temperature": 0, "max_answer_tokens": 40, **more})
    model = LlamaLanguageModel(config, gguf, grant or FixedGrant(1), cache)
    model.load()
    return model


def answer(model: LlamaLanguageModel, chat: tuple[ChatMessage, ...] = _CHAT) -> str:
    """Return the whole answer."""
    return "".join(model.generate(chat))


@pytest.fixture(scope="module")
def expected(gguf: Path) -> str:
    """The undisturbed answer."""
    with closing(loaded(gguf)) as model:
        return answer(model)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_changing_the_grant_does_not_change_the_answer(gguf: Path, temperature: float) -> None:
    """Threads come and go with every step, in the prompt and in the answer."""
    texts = set()
    for threads in (lambda _: 1, lambda _: 2, lambda step: 1 + step // 3 % 2):
        grant = ChangingGrant(threads)
        with closing(loaded(gguf, grant, temperature=temperature, max_answer_tokens=25)) as model:
            texts.add(answer(model))
            assert grant.steps > 25
    assert len(texts) == 1


def test_the_session_computes_with_what_was_granted(gguf: Path) -> None:
    """llama.cpp itself is asked."""
    grant = ChangingGrant(lambda step: 1 + step % 2)
    with closing(loaded(gguf, grant, max_answer_tokens=6)) as model:
        session = model._session
        assert session is not None
        for _ in model.generate(_CHAT):
            assert session._api.llama_n_threads(session._context) == grant.threads
            assert session._api.llama_n_threads_batch(session._context) == grant.threads


def test_a_grant_of_nothing_ends_the_job_quietly(gguf: Path, expected: str) -> None:
    """That is how a claim says that the job is being stopped, while it waited for a core."""
    grant = ChangingGrant(lambda step: int(step != 12))
    with closing(loaded(gguf, grant)) as model:
        cut = answer(model)
        assert expected.startswith(cut)
        assert len(cut) < len(expected)
        assert answer(model) == expected


def test_a_stop_ends_a_step_that_is_running(slow_gguf: Path) -> None:
    """llama.cpp itself asks whether to go on; what it had begun to compute is forgotten, and can be done again."""
    session = LlamaSession(slow_gguf, context_tokens=1024, batch_tokens=512, threads=1)
    tokens = [1, *(300 + n for n in range(511))]
    with session.exclusive():
        assert session.adopt(tokens) == 512
        assert session.evaluate(tokens[:3])
        stop = StopFlag()
        began_s = time.perf_counter()
        assert session.evaluate(tokens[3:], StopFlag())
        whole_s = time.perf_counter() - began_s
        session._trim(3)
        timer = threading.Timer(whole_s / 8, stop.set)
        timer.start()
        began_s = time.perf_counter()
        assert not session.evaluate(tokens[3:], stop)
        assert time.perf_counter() - began_s < whole_s / 2
        timer.join()
        assert session.evaluated == tokens[:3]
        assert not session.evaluate(tokens[3:], stop)
        assert session.evaluate(tokens[3:])
    session.close()
    session.close()


@pytest.fixture(scope="module")
def slow_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights that takes its time: 20 million parameters."""
    gguf, np = pytest.importorskip("gguf"), pytest.importorskip("numpy")
    path: Path = tmp_path_factory.mktemp("gguf") / "slow.gguf"
    vocabulary, width, inner, layers, heads = 1024, 512, 1408, 6, 8
    generator = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    words = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    words += [b"\xe2\x96\x81w%d" % number for number in range(vocabulary - len(words))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * vocabulary)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * (vocabulary - 259)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {"token_embd": (vocabulary, width)}
    for layer in range(layers):
        shapes |= {f"blk.{layer}.attn_{name}": (width, width) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.ffn_{name}": (inner, width) for name in ("gate", "up")}
        shapes[f"blk.{layer}.ffn_down"] = (width, inner)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", generator.standard_normal(shape, dtype=np.float32) / 20)
    norms = ["output_norm", *(f"blk.{layer}.{name}_norm" for layer in range(layers) for name in ("attn", "ffn"))]
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_stop_in_a_long_prompt_frees_the_thread(slow_gguf: Path) -> None:
    """2,000 tokens (the model spells) take seconds; the thread is free at once."""
    chat = (ChatMessage("user", "a cat " * 200),)
    with closing(loaded(slow_gguf, context_tokens=4096)) as model:
        begun = threading.Event()
        job = model.generate(chat)

        def pull() -> None:
            for _ in job:
                begun.set()

        thread = threading.Thread(target=pull)
        thread.start()
        assert begun.wait(60)
        began_s = time.perf_counter()
        model.stop(job)
        thread.join(60)
        assert time.perf_counter() - began_s < 1.0
        session = model._session
        assert session is not None
        assert 0 < len(session.evaluated) < 1900


def test_a_stop_before_the_first_step_counts_and_hits_no_other(gguf: Path, expected: str) -> None:
    """Each job keeps its own mark, from when it is made."""
    with closing(loaded(gguf)) as model:
        one, other = model.generate(_CHAT), model.generate(_CHAT)
        model.stop(one)
        assert list(one) == []
        assert "".join(other) == expected
        model.stop(one)
        model.stop(other)
        assert answer(model) == expected


def test_a_stop_of_all_spares_the_next(gguf: Path, expected: str) -> None:
    """Everything made so far ends, begun or not."""
    with closing(loaded(gguf)) as model:
        jobs = [model.generate(_CHAT), model.generate(_OTHER)]
        next(jobs[0])
        warm = model.warm(_CHAT)
        model.stop()
        assert [list(job) for job in (*jobs, warm)] == [[], [], []]
        assert answer(model) == expected


def test_two_hundred_stops_leave_nothing_behind(gguf: Path, expected: str) -> None:
    """At random moments, from another thread; now and then the answer must be the undisturbed one."""
    generator = random.Random(5)
    with closing(loaded(gguf)) as model:
        for number in range(200):
            chat = _CHAT if number % 2 else _OTHER
            job = model.warm(chat) if number % 5 == 0 else model.generate(chat)
            timer = threading.Timer(generator.random() * 0.03, model.stop, [job])
            timer.start()
            for _ in job:
                pass
            timer.join()
            if number % 40 == 0:
                assert answer(model) == expected
        assert answer(model) == expected


def test_jobs_may_take_turns(gguf: Path, expected: str) -> None:
    """A pool lets a more urgent job go between two steps of another; both answers are right."""
    with closing(loaded(gguf)) as model:
        other = answer(model, _OTHER)
        jobs: list[Generator[str, None, None]] = [model.generate(_CHAT), model.generate(_OTHER)]
        texts = ["", ""]
        generator = random.Random(3)
        left = {0, 1}
        while left:
            at = generator.choice(sorted(left))
            for _ in range(generator.randrange(1, 9)):
                piece = next(jobs[at], None)
                if piece is None:
                    left.discard(at)
                    break
                texts[at] += piece
        assert texts == [expected, other]


def test_jobs_of_two_threads_exclude_each_other(gguf: Path, expected: str) -> None:
    """As when a thread that was given up on comes back."""
    with closing(loaded(gguf)) as model:
        texts: list[str] = []
        threads = [threading.Thread(target=lambda: texts.append(answer(model))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert texts == [expected] * 3


def test_closing_the_model_ends_its_jobs(gguf: Path) -> None:
    """A step that comes later finds its job stopped, not freed memory."""
    model = loaded(gguf)
    job = model.generate(_CHAT)
    next(job)
    model.close()
    assert list(job) == []


def steps_to_text(model: LlamaLanguageModel) -> int:
    """Return how many steps come before the answer."""
    return next(at for at, piece in enumerate(list(model.generate(_CHAT))) if piece)


def test_a_warm_model_answers_sooner(gguf: Path, expected: str) -> None:
    """What does not depend on the question is evaluated; the answer is the same."""
    with closing(loaded(gguf)) as model:
        assert steps_to_text(model) > 3
    with closing(loaded(gguf)) as model:
        assert len(list(model.warm(_CHAT[:1]))) > 3
        assert list(model.warm(_CHAT[:1])) == []
        assert steps_to_text(model) <= 1
        assert answer(model) == expected
        assert list(model.warm(_CHAT[:1])) == []


def test_warming_includes_the_history(gguf: Path) -> None:
    """Turns that were had are part of the next prompt."""
    history = (*_CHAT, ChatMessage("assistant", "Tim was a big dog. He was happy. " * 4))
    with closing(loaded(gguf)) as model:
        for _ in model.warm(history):
            pass
        session = model._session
        assert session is not None
        warm = len(session.evaluated)
        prompt, _ = model._fitting(session, [*history, ChatMessage("user", "And then?")])
        assert len(prompt) - warm < 20
        assert session.adopt(prompt) == len(prompt) - warm


def test_warming_gives_way(gguf: Path, expected: str) -> None:
    """Where a question came in between, the idle work ends instead of undoing its state."""
    with closing(loaded(gguf)) as model:
        job = model.warm(_OTHER[:1] + _CHAT)
        next(job)
        assert answer(model) == expected
        assert list(job) == []
        assert steps_to_text(model) <= 1


def test_a_restart_finds_the_system_prompt_on_disk(gguf: Path, tmp_path: Path, expected: str) -> None:
    """Neither warming nor a question evaluates it again; the answer is the same."""
    with closing(loaded(gguf, cache=tmp_path)) as model:
        for _ in model.warm(_CHAT[:1]):
            pass
    [path] = tmp_path.iterdir()
    assert path.stat().st_size < 1_000_000
    for warms in (True, False):
        grant = ChangingGrant(lambda _: 1)
        with closing(loaded(gguf, grant, cache=tmp_path)) as model:
            if warms:
                for _ in model.warm(_CHAT[:1]):
                    pass
                assert grant.steps == 0
            assert answer(model) == expected
            assert grant.steps <= 42
    assert [*tmp_path.iterdir()] == [path]


def test_a_damaged_state_is_computed_again(gguf: Path, tmp_path: Path, expected: str) -> None:
    """One that fails its checksum, and one that llama.cpp refuses though it is whole."""
    with closing(loaded(gguf, cache=tmp_path)) as model:
        for _ in model.warm(_CHAT[:1]):
            pass
        [path] = tmp_path.iterdir()
        content = bytearray(path.read_bytes())
        content[500] ^= 1
        path.write_bytes(content)
    with closing(loaded(gguf, cache=tmp_path)) as model:
        assert answer(model) == expected
        assert not path.exists()
        store, session = model._store, model._session
        assert store is not None
        assert session is not None
        prefix = model._prefix(session, _CHAT[:1])
        for _ in store.save(prefix, bytearray(b"no state at all")):
            pass
    with closing(loaded(gguf, cache=tmp_path)) as model:
        assert answer(model) == expected
        assert not path.exists()


def test_only_the_system_prompt_goes_to_disk(gguf: Path, tmp_path: Path) -> None:
    """A history changes with every turn, and cards wear out."""
    with closing(loaded(gguf, cache=tmp_path)) as model:
        for chat in (_CHAT, (ChatMessage("system", "Hi."),)):
            for _ in model.warm(chat):
                pass
    assert list(tmp_path.iterdir()) == []
