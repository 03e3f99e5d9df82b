"""Tool calls by llama.cpp: held together by the grammar of the real intents, at a temperature where nothing else is."""

from __future__ import annotations

import random
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.bench.gguf_model import TINY, write_model
from edge_agent.config.engines import LlmConfig
from edge_agent.engines.llama import LlamaLanguageModel
from edge_agent.engines.llama_session import LlamaSession
from edge_agent.engines.llama_text import AnswerText
from edge_agent.errors import GenerationError, ToolCallError
from edge_agent.reason.llm import ChatMessage
from edge_agent.reason.templates import load_intents
from edge_agent.reason.tool_forms import forms_of
from edge_agent.reason.tool_prompt import call_text
from edge_agent.reason.tools import ToolBox
from edge_agent.runtime.ledger import FixedGrant

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

_CHAT = (ChatMessage("system", "You act."), ChatMessage("user", "Set a timer for ten minutes."))
_OPENING = "edge_agent.engines.llama_answer.CALL_OPENING"
_LONGEST_TOKENS = 200
_BYTES_FROM = 3
"""The random model's first token that stands for a byte."""
_SPEECH = 'root ::= "{" [a-z]{1,3} "}"'


@cache
def tools(language: str = "en") -> ToolBox:
    """The shipped intents' tools."""
    return ToolBox(load_intents(language, builtin=True, paths=[], outputs={"lamp": [], "big fan": []}))


@pytest.fixture(scope="module")
def random_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, whose tokens are characters and made-up words."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    path = tmp_path_factory.mktemp("model") / "random.gguf"
    write_model(path, TINY)
    return path


@pytest.fixture(params=["random", "stories"])
def gguf(request: pytest.FixtureRequest) -> Path:
    """One model with random weights, one that writes English in tokens of several letters."""
    if request.param == "random":
        return Path(request.getfixturevalue("random_gguf"))
    return Path(request.getfixturevalue("models_dir")) / "llm" / "stories260K.gguf"


def config(**settings: object) -> LlmConfig:
    """Return settings under which nearly any token may come."""
    return LlmConfig.model_validate({"temperature": 2.0, "max_answer_tokens": _LONGEST_TOKENS, **settings})


def loaded(gguf: Path, **settings: object) -> LlamaLanguageModel:
    """Return a loaded model."""
    model = LlamaLanguageModel(config(**settings), gguf, FixedGrant(1))
    model.load()
    return model


def reseed(model: LlamaLanguageModel, seed: int) -> None:
    """Let the next answer be another one, without loading again."""
    model._config = model._config.model_copy(update={"seed": seed})


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_call_is_complete_and_exists(gguf: Path, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred answers that are all calls, whatever the model would like to say: each is parsed, and they differ."""
    monkeypatch.setattr(_OPENING, "")
    toolbox = tools(language)
    texts = set()
    with closing(loaded(gguf)) as model:
        for seed in range(100):
            reseed(model, seed)
            text = "".join(model.generate(_CHAT, call_grammar=toolbox.grammar))
            match = toolbox.parse(text)
            assert match.text == text
            texts.add(text)
    assert len(texts) > 20
    assert len({toolbox.parse(text).intent for text in texts}) > 8


def test_only_an_answer_that_begins_as_calls_do_is_one(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is then decoded from its first token on as the grammar says; any other is what it is without a grammar."""
    grammar = tools().grammar
    with closing(loaded(gguf)) as model:
        for seed in range(40):
            reseed(model, seed)
            free = "".join(model.generate(_CHAT, most_tokens=4))
            for opening, is_call in ((free[0], True), ("\x01", False), (f"{free}\x01", False)):
                monkeypatch.setattr(_OPENING, opening)
                held = "".join(model.generate(_CHAT, call_grammar=grammar, most_tokens=None if is_call else 4))
                if is_call:
                    assert tools().parse(held).text == held
                else:
                    assert held == free


def test_a_call_that_is_cut_is_refused(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token limit holds for calls, too; half of one is none."""
    monkeypatch.setattr(_OPENING, "")
    with closing(loaded(gguf)) as model:
        pieces = [piece for piece in model.generate(_CHAT, call_grammar=tools().grammar, most_tokens=5) if piece]
        assert 0 < len(pieces) <= 5
        with pytest.raises(ToolCallError, match="no complete JSON"):
            tools().parse("".join(pieces))


def test_a_call_may_be_stopped(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle; the next answer is the undisturbed one."""
    monkeypatch.setattr(_OPENING, "")
    with closing(loaded(gguf)) as model:
        expected = "".join(model.generate(_CHAT, call_grammar=tools().grammar))
        job = model.generate(_CHAT, call_grammar=tools().grammar)
        while not next(job):
            pass
        model.stop(job)
        assert list(job) == []
        assert "".join(model.generate(_CHAT, call_grammar=tools().grammar)) == expected


@pytest.mark.parametrize("grammar", ['root ::= "a', "root ::= nowhere", 'root ::= root "a"', 'start ::= "a"'])
def test_a_grammar_that_is_none_is_told_at_once(gguf: Path, grammar: str) -> None:
    """Before anything is evaluated, and in one line; the model lives on."""
    with closing(loaded(gguf)) as model:
        with pytest.raises(GenerationError, match="grammar of tool calls is refused") as caught:
            next(model.generate(_CHAT, call_grammar=grammar))
        assert "\n" not in str(caught.value)
        assert model.prompt_cost is None
        assert list(model.generate(_CHAT, most_tokens=3))


def test_a_call_that_no_token_can_continue_is_an_error(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the end of the process, as llama.cpp would have it."""
    monkeypatch.setattr(_OPENING, "")
    with closing(loaded(gguf)) as model:
        job = model.generate(_CHAT, call_grammar='root ::= "{" [\\U7FFFFFFF] "}"')
        with pytest.raises(GenerationError, match="no token of its vocabulary"):
            list(job)
        assert list(model.generate(_CHAT, most_tokens=3))


def test_the_call_ends_where_the_grammar_may_end(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token is spent on the model's own end."""
    monkeypatch.setattr(_OPENING, "")
    with closing(loaded(gguf)) as model:
        for seed in range(20):
            reseed(model, seed)
            text = "".join(model.generate(_CHAT, call_grammar=_SPEECH))
            assert text[0] + text[-1] == "{}"
            assert 1 <= len(text[1:-1]) <= 3
            session = model._session
            assert session is not None
            assert not session.ends(session.evaluated[-1])


def drawn_calls(language: str, count: int) -> Iterator[str]:
    """Draw calls of any tool."""
    intents = load_intents(language, builtin=True, paths=[], outputs={"lamp": [], "big fan": []})
    generator = random.Random(language)
    names = tools(language).names
    for number in range(count):
        name = names[number % len(names)]
        slots: dict[str, str | int | float] = {}
        for slot, values in generator.choice(forms_of(intents.intents, name, language)).items():
            if not values.may_lack or generator.random() < 0.5:
                texts = [*sorted(values.texts), *(["Grandma's café"] if values.is_free else [])]
                slots[slot] = generator.choice([*sorted(values.numbers), *texts])
        yield call_text(name, {slot: slots[slot] for slot in tools(language).parse(call_text(name, slots)).slots})


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_grammar_allows_every_call_and_ends_with_it(random_gguf: Path, language: str) -> None:
    """Not one that can be made by hand is lost: numbers at both ends of their ranges, free texts, Chinese values."""
    session = LlamaSession(random_gguf, context_tokens=64, batch_tokens=64, threads=1)
    edges = [f'{{"tool":"SetTimer","minutes":{number}}}' for number in (1, 9, 10, 99, 100, 199, 200, 299, 300)]
    try:
        for call in (*edges, *drawn_calls(language, 120)):
            with session.grammar_sampler(tools(language).grammar) as sampler:
                for byte in call.encode():
                    assert not sampler.is_complete
                    assert session.piece(byte + _BYTES_FROM) == bytes((byte,))
                    assert sampler._allows(byte + _BYTES_FROM), call
                    session._api.llama_sampler_accept(sampler._grammar, byte + _BYTES_FROM)
                assert sampler.is_complete, call
        for call in ('{"tool":"SetTimer","minutes":301', '{"tool":"SetTimer","minutes":0', '{"tool":"SetVolume"}'):
            with session.grammar_sampler(tools(language).grammar) as sampler:
                for byte in call[:-1].encode():
                    session._api.llama_sampler_accept(sampler._grammar, byte + _BYTES_FROM)
                assert not sampler._allows(ord(call[-1]) + _BYTES_FROM), call
    finally:
        session.close()


def test_an_opening_is_seen_before_it_is_taken() -> None:
    """After white space and thoughts, in any token; not in an answer that has begun."""
    text = AnswerText()
    assert text.would_begin_with(b"{", "{")
    assert text.would_begin_with(b' \n{"tool', "{")
    assert not text.would_begin_with(b"", "{")
    assert not text.would_begin_with(b"a{", "{")
    assert text.feed(b"<think>{") == ""
    assert not text.would_begin_with(b"{", "{")
    assert text.would_begin_with(b"</think>\n{", "{")
    assert text.feed(b"</think> ") == ""
    assert text.would_begin_with(b"{", "{")
    assert text.feed(b"So") == "So"
    assert not text.would_begin_with(b"{", "{")
