"""The sounds with which a listener says that they listen, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.reason.wordforms import spoken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BACKCHANNELS: Mapping[str, tuple[str, ...]] = {
    "en": (
        *(
            "mhm",
            "mm",
            "mmm",
            "mm hm",
            "mm hmm",
            "mhmm",
            "hm",
            "hmm",
            "uh huh",
            "uh-huh",
            "aha",
            "ah",
            "oh",
            "uh",
            "um",
        ),
        *("er", "huh", "yeah", "yep", "yup", "yes", "ok", "okay", "right", "all right", "alright", "sure", "i see"),
        *("got it", "good", "great", "cool", "nice", "wow", "really"),
    ),
    "zh": (
        *(
            "嗯",
            "嗯嗯",
            "哦",
            "噢",
            "喔",
            "啊",
            "呃",
            "唔",
            "哎",
            "好",
            "好的",
            "好吧",
            "对",
            "对的",
            "是",
            "是的",
            "是啊",
        ),
        *("行", "可以", "明白", "知道了", "原来如此", "这样啊", "真的"),
    ),
}


def is_backchannel(text: str, language: str, ignored: Sequence[str] | None = None) -> bool:
    """Tell whether `text` holds nothing but a listener's sounds, also several in a row, or no word at all.

    The same words answer a question; whoever has asked one must not call this.

    Args:
        text: As heard.
        language: ISO 639 code; without a list for it, only a text without words is a backchannel.
        ignored: The sounds instead of the language's own.
    """
    sounds = BACKCHANNELS.get(language, ()) if ignored is None else ignored
    known = {"".join(words) for sound in sounds if (words := spoken(sound, language).split())}
    return _consists_of(spoken(text, language).split(), known)


def _consists_of(words: Sequence[str], known: set[str]) -> bool:
    """Tell whether `words` fall into runs that are `known` once joined: sounds are spelled as one word or several."""
    longest = max(map(len, known), default=0)
    reached = {0}
    for begin in range(len(words)):
        if begin not in reached:
            continue
        joined = ""
        for end in range(begin, len(words)):
            joined += words[end]
            if len(joined) > longest:
                break
            if joined in known:
                reached.add(end + 1)
    return len(words) in reached
