"""What lies between chat messages and tokens on one side, tokens and spoken text on the other."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any

from edge_agent.reason.llm import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_THOUGHT = ("<think>", "</think>")
_MARKED = re.compile(r"<[^<>\n]{1,60}>|\[[A-Z_/]{1,30}\]")


class ChatFormat:
    """Writes a chat as the prompt that a model was trained on: its file's own template, or a plain one.

    The plain one, for files without a template or with one that fails, is the system prompt, then a paragraph for each
    message headed `User:` or `Assistant:`; the answer ends where the model begins the next `User:`.

    Raises:
        ValueError: The template is not valid.
    """

    PLAIN_STOP = "\nUser:"

    def __init__(self, template: str | None, beginning: str, ending: str, controls: Collection[str]) -> None:
        self._controls = controls
        self._beginning = beginning
        self._formatter: Any = None
        if template is None:
            return
        import jinja2
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        try:
            self._formatter = Jinja2ChatFormatter(template=template, eos_token=ending, bos_token=beginning)
            self.prompt([ChatMessage("system", "s"), ChatMessage("user", "u")])
        except (jinja2.TemplateError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(" ".join(str(error).split())[:200]) from error

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer, beside the model's own end tokens."""
        return () if self._formatter else (self.PLAIN_STOP,)

    def prompt(self, messages: Sequence[ChatMessage]) -> str:
        """Return the text up to where the answer begins. Control tokens in the messages lose their meaning."""
        plain = [ChatMessage(message.role, self._defused(message.content)) for message in messages]
        if not self._formatter:
            return _plain_prompt(plain)
        try:
            return self._render(plain)
        except ValueError:
            # Some templates refuse a system message; then it opens the first user message.
            return self._render(_without_system(plain))

    def begins(self, prompt: str) -> bool:
        """Tell whether `prompt` still needs the token that begins every text."""
        return not (self._beginning and prompt.startswith(self._beginning))

    def _render(self, messages: Sequence[ChatMessage]) -> str:
        dicts = [{"role": message.role, "content": message.content} for message in messages]
        # Models that can think first take this switch; an answer that is spoken can't wait for thoughts.
        return str(self._formatter(messages=dicts, enable_thinking=False).prompt)

    def _defused(self, content: str) -> str:
        return _MARKED.sub(lambda match: " " if match[0] in self._controls else match[0], content)


class AnswerText:
    """Turns the bytes of tokens into text that can be spoken; says when a stop text ends it.

    Incomplete UTF-8 waits for its rest; text that may become a stop waits until it is decided; white space at the
    start and a `<think>` block there are left out.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._held = ""
        self._begun = False
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """Take a token's bytes; return the text that is certain now."""
        return self._advance(self._decoder.decode(piece), end=False)

    def would_begin_with(self, piece: bytes, opening: str) -> bool:
        """Tell whether the answer, not begun so far, would begin with `opening` if `piece` came next."""
        if self._begun or self.stopped:
            return False
        rest = _without_thought(self._held + piece.decode(errors="replace"))
        return rest is not None and rest.startswith(opening)

    def flush(self) -> str:
        """Return what was held back, for no more tokens come."""
        return self._advance(self._decoder.decode(b"", final=True), end=True)

    def _advance(self, text: str, *, end: bool) -> str:
        if self.stopped:
            return ""
        self._held += text
        if not self._begun and not self._find_beginning(end=end):
            return ""
        cuts = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if cuts:
            self.stopped = True
            ready, self._held = self._held[: min(cuts)], ""
            return ready
        keep = 0 if end else max((_overlap(self._held, stop) for stop in self._stops), default=0)
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return ready

    def _find_beginning(self, *, end: bool) -> bool:
        """Drop white space and thoughts in front of the answer; return whether it has begun."""
        opened, closed = _THOUGHT
        text = _without_thought(self._held)
        if text is None:
            # Of thoughts only what may be the start of their end is needed.
            thought = self._held.lstrip()
            self._held = "" if end else thought[: len(opened)] + thought[len(opened) :][-len(closed) :]
            return False
        self._held = text
        if not text or (not end and opened.startswith(text)):
            return False
        self._begun = True
        return True


def _without_thought(text: str) -> str | None:
    """Return `text` without white space and a thought in front; None where the thought goes on."""
    opened, closed = _THOUGHT
    text = text.lstrip()
    if not text.startswith(opened):
        return text
    at = text.find(closed)
    return None if at < 0 else text[at + len(closed) :].lstrip()


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that `stop` begins with."""
    return next((size for size in range(min(len(text), len(stop)), 0, -1) if text.endswith(stop[:size])), 0)


def _plain_prompt(messages: Sequence[ChatMessage]) -> str:
    headings = {"system": "", "user": "User: ", "assistant": "Assistant: "}
    paragraphs = [f"{headings[message.role]}{message.content.strip()}" for message in messages]
    return "\n".join([*paragraphs, "Assistant:"])


def _without_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    rest = [message for message in messages if message.role != "system"]
    if system and rest and rest[0].role == "user":
        rest[0] = ChatMessage("user", f"{system}\n\n{rest[0].content}")
    return rest
