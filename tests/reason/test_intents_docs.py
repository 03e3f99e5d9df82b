"""docs/intents.md says what is true: its examples load and answer, its errors are the real ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hassil import recognize_best

from edge_agent.errors import IntentsFileError
from edge_agent.reason.templates import IntentSet, load_intents

DOCUMENT = (Path(__file__).parents[2] / "docs" / "intents.md").read_text(encoding="utf-8")
EXAMPLE, MORE = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
ERRORS = re.findall(r"^/etc/edge-agent/intents/(coffee\.yaml: .*)$", DOCUMENT, re.MULTILINE)

MISTAKES = [
    ("publish:", "pubish:"),
    ('with {milk}]"\n', 'with {milks}]"\n'),
    ("(large|big)", "(large|big"),
    ("One {size} {drink}[ with", "One {size} {dring}[ with"),
    ("output: lamp", "output: lump"),
]


def load(directory: Path) -> IntentSet:
    """Load a directory beside the shipped intents, with the document's output."""
    return load_intents("en", builtin=True, paths=[directory], outputs={"lamp": ("light",)})


def test_the_examples_load_and_answer(tmp_path: Path) -> None:
    """Both examples together do what the text says of them."""
    (tmp_path / "coffee.yaml").write_text(EXAMPLE)
    (tmp_path / "more.yaml").write_text(MORE)
    loaded = load(tmp_path)
    said = {
        "I'd like a big coffee with oat milk": "One large coffee with oat milk, coming up.",
        "tea please": "One tea, coming up.",
        "movie time": "Enjoy the film.",
        "write me a poem": "I can't write poems without a language model.",
    }
    for sentence, reply in said.items():
        result = recognize_best(sentence, loaded.intents)
        assert result is not None, sentence
        slots = {name: entity.value for name, entity in result.entities.items()}
        assert loaded.actions[result.intent.name].replies[0].render(slots) == reply
    tea_time = recognize_best("tea time", loaded.intents)
    assert tea_time is not None
    assert tea_time.intent.name == "SetTimer"


@pytest.mark.parametrize(("mistake", "error"), list(zip(MISTAKES, ERRORS, strict=True)))
def test_the_errors_are_the_real_ones(tmp_path: Path, mistake: tuple[str, str], error: str) -> None:
    """Each mistake gives the very line that the document shows."""
    path = tmp_path / "coffee.yaml"
    path.write_text(EXAMPLE.replace(*mistake, 1))
    with pytest.raises(IntentsFileError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path}/{error}"


def test_every_builtin_intent_is_named() -> None:
    """The list of built-in intents is complete."""
    loaded = load_intents("en", builtin=True, paths=[], outputs={"lamp": ()})
    assert [name for name in loaded.intents.intents if not re.search(rf"\b{name}\b", DOCUMENT)] == []
