"""What a person sees of `edge-agent tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.app.tune.tuning import as_plan
from edge_agent.runtime.plan import UNMEASURED, grants

if TYPE_CHECKING:
    from edge_agent.app.tune.stored import Engine, Tuned
    from edge_agent.runtime.plan import ThreadPlan

_SITUATIONS = (("LLM",), ("TTS",), ("ASR", "LLM"), ("TTS", "LLM"), ("ASR", "TTS", "LLM"))


def print_tuned(tuned: Tuned, console: Console | None = None) -> None:
    """Print what was measured, and what the ledger makes of it beside what it does without."""
    console = console or Console(highlight=False)
    board = tuned.board
    name = board.model or board.processor or board.architecture
    memory = f"{board.memory_mib / 1024:.1f} GiB"
    console.print(Text(f"{name}: {board.cores} cores, {board.reserve} of them for hearing, {memory}", "bold"))
    for engine in (tuned.asr, tuned.llm, tuned.tts):
        if engine is not None:
            console.print(Text(f"  {_described(engine)}", "dim"), soft_wrap=True)
    console.print(_speeds(tuned))
    if tuned.measured.pairs:
        console.print(_pairs(tuned))
    console.print(_plan(tuned))
    for reason in tuned.tainted:
        console.print(Text(f"! not to be trusted: {reason}", "bold red"), soft_wrap=True)
    for note in tuned.notes:
        console.print(Text(f"! {note}", "yellow"), soft_wrap=True)


def _described(engine: Engine) -> str:
    return f"{engine.name} ({engine.version})" if engine.version else engine.name


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left", no_wrap=True)
    return table


def _speeds(tuned: Tuned) -> Table:
    measured, plan = tuned.measured, tuned.plan
    table = _table("Alone", "Threads", "LLM reads", "LLM writes", "Voice", "Hearing")
    models = {speed.threads: speed for speed in measured.llm}
    voices = {speed.threads: speed for speed in measured.tts}
    for threads in sorted({*models, *voices, 1}):
        model, voice = models.get(threads), voices.get(threads)
        table.add_row(
            str(threads),
            "" if model is None else f"{model.prefill_tokens_per_s:.1f} tokens/s",
            "" if model is None else _marked(f"{model.decode_tokens_per_s:.1f} tokens/s", threads == plan.llm),
            "" if voice is None else _marked(f"{voice.real_time_factor:.2f} x", threads == plan.tts),
            _factor(measured.asr_real_time_factor) if threads == 1 else "",
        )
    return table


def _pairs(tuned: Tuned) -> Table:
    measured, plan = tuned.measured, tuned.plan
    table = _table("Together", "Threads", "LLM writes", "Voice", "Hearing")
    for pair in measured.pairs:
        threads = f"voice {pair.tts_threads}, LLM {pair.llm_threads or 'in turns'}"
        is_taken = pair.tts_threads == plan.tts_beside
        table.add_row(
            threads, _tokens(pair.decode_tokens_per_s), _marked(_factor(pair.tts_real_time_factor), is_taken), ""
        )
    if (all_of_it := measured.everything) is not None:
        table.add_row(
            "all three, by the plan",
            _tokens(all_of_it.decode_tokens_per_s),
            _factor(all_of_it.tts_real_time_factor),
            _factor(all_of_it.asr_real_time_factor),
        )
    return table


def _plan(tuned: Tuned) -> Table:
    table = _table("Threads that the ledger grants", "Who computes", "Without", "By this plan")
    for active in _SITUATIONS:
        if "LLM" in active and tuned.llm is None:
            continue
        by_plan = (_granted(tuned, active, plan) for plan in (UNMEASURED, as_plan(tuned.plan)))
        table.add_row(" + ".join(active), *by_plan)
    return table


def _granted(tuned: Tuned, active: tuple[str, ...], plan: ThreadPlan) -> str:
    board = tuned.board
    cores = board.compute_cores + board.reserve
    return " + ".join(str(held) for held in grants(cores, reserve=board.reserve, active=active, plan=plan).values())


def _marked(text: str, is_chosen: bool) -> str:
    return f"> {text}" if is_chosen else text


def _factor(factor: float | None) -> str:
    return "" if factor is None else f"{factor:.2f} x"


def _tokens(tokens_per_s: float | None) -> str:
    return "" if tokens_per_s is None else f"{tokens_per_s:.1f} tokens/s"
