"""Makes hassil's lists from those of the files and from the configuration's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import ConfigError, ConfigProblem
from edge_agent.reason.sentence_check import TemplateError, parse_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hassil.intents import TextSlotList, TextSlotValue

    from edge_agent.reason.intents_schema import ListPart
    from edge_agent.reason.intents_source import SourceFile
    from edge_agent.reason.yaml_text import Key

OUTPUT_LIST = "output"
"""The list that is made of the configuration's GPIO outputs."""


def list_values(source: SourceFile, key: Key, part: ListPart) -> Iterator[tuple[Key, TextSlotValue]]:
    """Yield the values of a list of texts with the place of each."""
    from hassil.intents import TextSlotValue
    from hassil.util import is_template

    for index, value in enumerate(part.values or ()):
        where = (*key, index)
        if not value.spoken.strip():
            source.refuse(where, "is empty")
        if not is_template(value.spoken):
            yield where, TextSlotValue.from_tuple((value.spoken, value.spoken if value.out is None else value.out))
            continue
        try:
            expression = parse_template(value.spoken).expression
        except TemplateError as error:
            source.refuse(where, f"{value.spoken!r}: {error}")
        # Without `out`, the slot gets what was said.
        out = None if value.out == value.spoken else value.out
        yield where, TextSlotValue(expression, out)


def output_list(outputs: Mapping[str, Sequence[str]]) -> TextSlotList:
    """Make the list {output}: every name and alias, whose value is the name.

    Raises:
        ConfigError: Two outputs share a name.
    """
    from hassil.expression import TextChunk
    from hassil.intents import TextSlotList, TextSlotValue
    from hassil.util import normalize_text

    values: list[TextSlotValue] = []
    taken: dict[str, str] = {}
    for name, aliases in outputs.items():
        for called in dict.fromkeys((name, *aliases)):
            spoken = normalize_text(called.replace("_", " ")).strip().lower()
            if not spoken or taken.get(spoken, name) != name:
                problem = f"{called!r} is also a name of {taken[spoken]!r}" if spoken else "a name is empty"
                raise ConfigError([ConfigProblem(f"gpio.outputs.{name}", f"{problem}; choose another", "config")])
            if spoken not in taken:
                values.append(TextSlotValue(TextChunk(spoken), name))
            taken[spoken] = name
    return TextSlotList(OUTPUT_LIST, values)
