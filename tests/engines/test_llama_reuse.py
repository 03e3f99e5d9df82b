"""What of a prompt is evaluated: only what no chat before it had, counted in tokens."""

from __future__ import annotations

import gc
import os
from contextlib import closing
from typing import TYPE_CHECKING

import psutil
import pytest

from edge_agent.bench.gguf_model import TINY, write_model
from edge_agent.config.engines import LlmConfig
from edge_agent.engines.llama import LlamaLanguageModel
from edge_agent.errors import GenerationError, ModelError
from edge_agent.reason.history import History
from edge_agent.reason.llm import ChatMessage, PromptCost
from edge_agent.runtime.ledger import FixedGrant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.engines.llama_session import LlamaSession

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytest.importorskip("gguf", reason="gguf is not installed")

_SYSTEM = "You are an agent in a kitchen, and your answers are short. " * 3
_ANSWER_TOKENS = 12


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights: a character a token, and no answer ends by itself."""
    path = tmp_path_factory.mktemp("model") / "random.gguf"
    write_model(path, TINY)
    return path


def loaded(gguf: Path, cache: Path | None = None, **settings: object) -> LlamaLanguageModel:
    """Return a loaded model."""
    config = LlmConfig.model_validate(
        {"temperature": 1.0, "max_answer_tokens": _ANSWER_TOKENS, "context_tokens": 2048, **settings}
    )
    model = LlamaLanguageModel(config, gguf, FixedGrant(1), cache)
    model.load()
    return model


def session_of(model: LlamaLanguageModel) -> LlamaSession:
    """Return its context."""
    assert model._session is not None
    return model._session


def ask(model: LlamaLanguageModel, messages: Sequence[ChatMessage]) -> tuple[str, PromptCost]:
    """Return the answer, and what its prompt cost."""
    text = "".join(model.generate(messages))
    cost = model.prompt_cost
    assert cost is not None
    return text, cost


def tokens_of(model: LlamaLanguageModel, text: str) -> int:
    """Return how many tokens `text` has inside a prompt."""
    return len(session_of(model).tokenize(text, begin=False))


def test_a_turn_costs_what_was_not_said_before(gguf: Path) -> None:
    """Six turns: the first prompt whole; of the others the question, and of the last answer what reads otherwise."""
    history = History(20)
    with closing(loaded(gguf)) as model:
        _, cost = ask(model, history.messages(_SYSTEM, "what is cooking"))
        assert (cost.reused, cost.restored, cost.evaluated) == (0, 0, cost.tokens)
        for number in range(6):
            question = f"and number {number}"
            answer, before = ask(model, history.messages(_SYSTEM, question))
            history.add(question, answer)
            _, cost = ask(model, history.messages(_SYSTEM, "go on"))
            assert cost.reused >= before.tokens
            # A new answer's tokens may come out otherwise when its text is read again; the question is new.
            assert cost.evaluated <= tokens_of(model, answer) + tokens_of(model, "\nUser: go on\nAssistant:") + 2


def test_of_an_answer_that_reads_the_same_nothing_is_evaluated(gguf: Path) -> None:
    """Then only the next question is new."""
    with closing(loaded(gguf)) as model:
        history = History(20)
        answer, before = ask(model, history.messages(_SYSTEM, "one"))
        session = session_of(model)
        generated = session.evaluated[before.tokens :]
        history.add("one", answer)
        prompt, _ = model._fitting(session, history.messages(_SYSTEM, "two"))
        same = next((n for n, token in enumerate(generated) if prompt[before.tokens + n] != token), len(generated))
        _, cost = ask(model, history.messages(_SYSTEM, "two"))
        assert cost == PromptCost(len(prompt), before.tokens + same)


def test_a_warm_up_leaves_the_question(gguf: Path) -> None:
    """History and all: what is then evaluated is the question and where the answer begins."""
    history = History(20)
    for number in range(4):
        history.add(f"question {number}", "It is number seven.")
    with closing(loaded(gguf)) as model:
        for _ in model.warm(history.messages(_SYSTEM, "")[:-1]):
            pass
        _, cost = ask(model, history.messages(_SYSTEM, "go on"))
        assert cost.evaluated <= tokens_of(model, " go on\nAssistant:") + 2
        assert cost.reused > 100


def test_what_was_begun_for_half_a_question_serves_the_whole(gguf: Path) -> None:
    """An answer begun in a pause is stopped in its prompt, in its text or before both: the common beginning stays."""
    half, whole = "set a timer for ten", "set a timer for ten minutes and call it bread"
    chat = History(0).messages(_SYSTEM * 2, half)
    with closing(loaded(gguf)) as reference:
        expected, whole_cost = ask(reference, History(0).messages(_SYSTEM * 2, whole))
    for steps in (0, 1, 3, None):
        for stops in (False, True):
            with closing(loaded(gguf)) as model:
                job = model.generate(chat)
                for _ in range(steps if steps is not None else 1000):
                    piece = next(job)
                    if steps is None and piece:
                        break
                if stops:
                    model.stop(job)
                job.close()
                done = list(session_of(model).evaluated)
                answer, cost = ask(model, History(0).messages(_SYSTEM * 2, whole))
                assert answer == expected
                prompt, _ = model._fitting(session_of(model), History(0).messages(_SYSTEM * 2, whole))
                common = next((n for n, (a, b) in enumerate(zip(done, prompt, strict=False)) if a != b), len(done))
                assert cost == PromptCost(whole_cost.tokens, common)
                if steps is None:
                    assert cost.evaluated <= tokens_of(model, " minutes and call it bread\nAssistant:") + 2


def test_the_same_question_again_costs_one_token(gguf: Path) -> None:
    """That of the last one, whose output is wanted: a speculation that was right has done it all."""
    chat = History(0).messages(_SYSTEM, "what time is it")
    with closing(loaded(gguf)) as model:
        ask(model, chat)
        _, cost = ask(model, chat)
        assert cost.evaluated == 1


def test_without_a_kept_prefix_all_is_evaluated(gguf: Path, tmp_path: Path) -> None:
    """Each time, with the same answers; nothing is warmed, nothing written."""
    chat = History(0).messages(_SYSTEM, "what time is it")
    with closing(loaded(gguf)) as model:
        expected, _ = ask(model, chat)
    with closing(loaded(gguf, tmp_path, keep_prefix=False)) as model:
        assert list(model.warm(chat[:1])) == []
        for _ in range(3):
            answer, cost = ask(model, chat)
            assert answer == expected
            assert cost.reused == 0
    assert list(tmp_path.iterdir()) == []


def test_what_came_from_disk_is_told(gguf: Path, tmp_path: Path) -> None:
    """After a restart the system prompt is read; the next time it is in memory."""
    chat = History(0).messages(_SYSTEM, "what time is it")
    with closing(loaded(gguf, tmp_path)) as model:
        for _ in model.warm(chat[:1]):
            pass
        assert model.prompt_cost is None
    with closing(loaded(gguf, tmp_path)) as model:
        _, first = ask(model, chat)
        assert first.restored == first.reused > 100
        assert str(first) == f"prefill {first.evaluated} of {first.tokens} tokens, {first.restored} from disk"
        _, second = ask(model, chat)
        assert (second.restored, second.evaluated) == (0, 1)
        assert str(second) == f"prefill 1 of {second.tokens} tokens"


def test_a_full_history_loses_its_prefix_once_in_some_turns(gguf: Path) -> None:
    """By number of turns, and by the context's size: in most turns no more is evaluated than is new."""
    for history, context_tokens in ((History(6), 2048), (History(1000), 1024)):
        with closing(loaded(gguf, context_tokens=context_tokens)) as model:
            costs = []
            for number in range(24):
                question = f"say something about the number {number} and why it is one " * 2
                answer, cost = ask(model, history.messages(_SYSTEM, question))
                history.add(question, answer)
                costs.append(cost)
            new = max(tokens_of(model, question + answer), 60) + 40
            lost = [cost for cost in costs[1:] if cost.evaluated > new]
            assert 1 <= len(lost) <= 8
            assert max(cost.tokens for cost in costs) <= context_tokens - _ANSWER_TOKENS


def test_a_model_can_be_given_back_and_had_again(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times over: the same answers, the file tried in a child once, and no memory lost."""
    probes: list[Path] = []
    monkeypatch.setattr("edge_agent.engines.llama_file.probe", lambda _module, path: probes.append(path))
    chat = History(0).messages(_SYSTEM, "what time is it")
    model = loaded(gguf)
    process = psutil.Process(os.getpid())
    expected, _ = ask(model, chat)
    sizes_bytes = []
    for _ in range(10):
        job = model.generate(chat, call_grammar='root ::= "{" "}"')
        next(job)
        model.close()
        assert list(job) == []
        with pytest.raises(GenerationError, match="not loaded"):
            next(model.generate(chat))
        model.load()
        answer, cost = ask(model, chat)
        assert (answer, cost.reused) == (expected, 0)
        gc.collect()
        sizes_bytes.append(process.memory_info().rss)
    model.close()
    assert probes == [gguf]
    assert sizes_bytes[-1] - sizes_bytes[3] < 8 << 20


def test_a_file_that_was_exchanged_is_tried_again(gguf: Path, tmp_path: Path) -> None:
    """What was found good says nothing about another file of that name."""
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf.read_bytes())
    model = LlamaLanguageModel(LlmConfig(), path, FixedGrant(1))
    model.load()
    model.close()
    path.write_bytes(gguf.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="can't be loaded"):
        model.load()
