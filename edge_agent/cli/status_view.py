"""What a person sees of `edge-agent status`; made for 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MIB = 1 << 20
_STATE_STYLES = {
    "idle": ("○", "green"),
    "listening": ("◌", "cyan"),
    "hearing": ("●", "bold red"),
    "thinking": ("◆", "yellow"),
    "speaking": ("▶", "green"),
}
_RUNG_STYLES = {"normal": "green", "warm": "yellow", "hot": "bold red", "critical": "bold white on red"}
_LABEL_WIDTH = len("bottleneck ")
_LAST_FAULTS = 3


def print_status(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a status as the service gave it; what it leaves out is not shown."""
    console = console or Console(highlight=False)
    report = found.get("report") or {}
    console.print(_headline(found))
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, line in _lines(found, report, console.width - _LABEL_WIDTH):
        grid.add_row(label, line)
    console.print(grid)
    if report.get("pools"):
        console.print()
        console.print(_pools(report))
    claims = (report.get("cores") or {}).get("claims")
    if claims:
        console.print()
        console.print(_claims(claims))
    faults = (found.get("faults") or [])[-_LAST_FAULTS:]
    if faults:
        console.print()
    for fault in faults:
        console.print(_fault(fault))


def _headline(found: Mapping[str, Any]) -> Text:
    state = "muted" if found.get("muted") else str(found.get("state", "unknown"))
    sign, style = ("✕", "magenta") if state == "muted" else _STATE_STYLES.get(state, ("·", "default"))
    line = Text(f"{sign} {state}", f"bold {style}")
    if found.get("version"):
        line.append(f"   edge-agent {found['version']}", "default")
    if found.get("uptime_s") is not None:
        line.append(f", up {span(found['uptime_s'])}", "dim")
    return line


def _lines(found: Mapping[str, Any], report: Mapping[str, Any], width: int) -> Iterable[tuple[str, Text]]:
    engines = {part: name for part, name in (found.get("engines") or {}).items() if name}
    if engines:
        yield "engines", joined((f"{part} {name}" for part, name in engines.items()), width)
    if found.get("broker"):
        yield "broker", _broker(found["broker"])
    yield "bottleneck", _bottleneck(report)
    for label, key, shown in (
        ("pressure", "pressure", _pressure),
        ("cores", "cores", _cores),
        ("tasks", "tasks", _tasks),
        ("event loop", "lag", _lag),
        ("resources", "usage", _usage),
    ):
        if report.get(key):
            yield label, shown(report[key])
    for device, reason in (found.get("trouble") or {}).items():
        if reason:
            yield device, Text(reason, "yellow")
    if found.get("audio"):
        yield "audio", _facts(_audio(found["audio"]), width)
    if found.get("counters"):
        yield "counters", _facts(found["counters"], width)
    if losses := _losses(report):
        yield "lost", losses


def _broker(broker: Mapping[str, Any]) -> Text:
    name = str(broker["broker"])
    if broker["connected"]:
        line = Text("connected", "green").append(f" to {name} for {span(broker['since_s'])}", "default")
        if broker["reason"]:
            line.append(f"; {broker['reason']}", "yellow")
    else:
        line = Text("not connected", "bold yellow").append(f" to {name}: {broker['reason']}", "default")
    if waiting := broker["events_waiting"]:
        line.append("; 1 event waits" if waiting == 1 else f"; {waiting} events wait", "default")
    return line


def _bottleneck(report: Mapping[str, Any]) -> Text:
    found = report.get("bottleneck")
    if found:
        return Text(found["what"], "bold yellow").append(f": {found['why']}", "default")
    return Text("nothing limits it now", "green")


def _pressure(pressure: Mapping[str, Any]) -> Text:
    rung = pressure["rung"]
    line = Text(rung, _RUNG_STYLES.get(rung, "default"))
    if rung != "normal":
        line.append(f" for {span(pressure['for_s'])}: {', '.join(pressure['reasons'])}", "default")
    elif pressure.get("temperature_c") is not None:
        line.append(f"   {pressure['temperature_c']:.0f} °C", "default")
    return line


def _cores(cores: Mapping[str, Any]) -> Text:
    line = Text(f"{cores['held']} of {cores['cores']} in use")
    if cores["reserve"]:
        line.append(f", {cores['reserve']} kept for capture", "dim")
    if cores["waiting"]:
        line.append(f", {cores['waiting']} waiting", "yellow")
    return line


def _tasks(tasks: Mapping[str, Any]) -> Text:
    line = Text(f"{tasks['active']} active, {_count(tasks['completed'])} completed")
    for key, style in (("failed", "red"), ("timed_out", "red"), ("refused", "yellow"), ("cancelled", "dim")):
        if tasks[key]:
            line.append(f", {_count(tasks[key])} {key.replace('_', ' ')}", style)
    line.append(f", {tasks['per_s_last_minute']:.1f} a second, peak {tasks['peak']}", "dim")
    return line


def _lag(lag: Mapping[str, Any]) -> Text:
    p99 = "" if lag["p99_ms"] is None else f", p99 {lag['p99_ms']:.1f} ms"
    return Text(f"{lag['latest_ms']:.1f} ms late{p99}")


def _usage(usage: Mapping[str, Any]) -> Text:
    own, children = usage["rss_bytes"] // _MIB, usage["children_rss_bytes"] // _MIB
    line = Text(f"{own} MiB")
    if usage["children"]:
        line.append(f" + {children} MiB in {usage['children']} child{'' if usage['children'] == 1 else 'ren'}")
    line.append(f", {usage['memory_available_bytes'] // _MIB} MiB free")
    if usage["cpu_share"] is not None:
        line.append(f", {usage['cpu_share'] * 100:.0f} % of a core")
    return line.append(f", {usage['threads']} threads, {usage['open_files']} files", "dim")


def _losses(report: Mapping[str, Any]) -> Text | None:
    lost = [f"{one['dropped']} in channel {one['name']}" for one in report.get("channels", []) if one["dropped"]]
    if report.get("logs_lost"):
        lost.append(f"{report['logs_lost']} log records")
    return Text(", ".join(lost), "yellow") if lost else None


def _pools(report: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    table.add_column("Pool", no_wrap=True)
    for title in ("Busy", "Queued", "Done"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Wait p50", justify="right", no_wrap=True)
    table.add_column("p95", justify="right", no_wrap=True)
    table.add_column("p99", justify="right", no_wrap=True)
    table.add_column("Run p50", justify="right", no_wrap=True)
    table.add_column("p95", justify="right", no_wrap=True)
    table.add_column("p99", justify="right", no_wrap=True)
    work = {place["place"]: place for place in report.get("places", [])}
    for pool in report["pools"]:
        of_pool = work.get(pool["name"], {})
        busy = Text(f"{pool['busy']} of {pool['most_workers']}", "bold" if pool["busy"] else "dim")
        if pool["stuck"]:
            busy.append(f" ({pool['stuck']} stuck)", "bold red")
        queued = Text(str(pool["waiting"]), "yellow" if pool["waiting"] else "dim")
        if pool["delayed"]:
            queued.append(f" +{pool['delayed']}", "dim")
        table.add_row(
            pool["name"],
            busy,
            queued,
            _count(of_pool.get("completed", 0)),
            *_spread(of_pool.get("wait")),
            *_spread(of_pool.get("run")),
        )
    return table


def _claims(claims: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    table.add_column("Engine", no_wrap=True)
    for title in ("Threads", "Mean", "Most"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Waited", justify="right", no_wrap=True)
    for claim in claims:
        is_waiting = claim["is_open"] and not claim["held"]
        threads = Text("waits", "yellow") if is_waiting else Text(str(claim["held"]), "" if claim["held"] else "dim")
        mean = "-" if claim["mean_threads"] is None else f"{claim['mean_threads']:.1f}"
        table.add_row(claim["name"], threads, mean, str(claim["most"]), span(claim["waited_s"]))
    return table


def _fault(fault: Mapping[str, Any] | str) -> Text:
    if isinstance(fault, str):
        return Text(f"! {fault}", "yellow")
    ago = f" ({span(fault['age_s'])} ago)" if fault.get("age_s") is not None else ""
    return Text(f"! {fault.get('message', '')}{ago}", "yellow")


def _audio(audio: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is worth a look: each device with its state, counts, and of other figures those that are not zero."""
    shown: dict[str, Any] = {}
    for name, value in audio.items():
        state = audio.get(f"{name}_state")
        if state is not None:
            shown[name] = f"{value or 'none'}, {state} for {span(audio.get(f'{name}_for_s') or 0)}"
        elif not name.endswith(("_state", "_for_s")) and not (isinstance(value, float) and not value):
            shown[name] = value
    return shown


def _facts(facts: Mapping[str, Any], width: int) -> Text:
    """Write what the service counts: of numbers the number comes first, `3 frames lost`."""
    parts = []
    for name, value in facts.items():
        words = name.replace("_", " ")
        if value is None or isinstance(value, dict | list):
            continue
        is_count = isinstance(value, int) and not isinstance(value, bool)
        parts.append(f"{_count(value)} {words}" if is_count else f"{words} {value}")
    return joined(parts, width)


def joined(parts: Iterable[str], width: int) -> Text:
    """Join parts by dots; begin a new line rather than break one."""
    line = Text()
    used = 0
    for part in parts:
        if used and used + 3 + len(part) > width:
            line.append("\n")
            used = 0
        if used:
            line.append(" · ", "dim")
            used += 3
        line.append(part)
        used += len(part)
    return line


def _spread(spread: Mapping[str, float] | None) -> tuple[str, str, str]:
    if spread is None:
        return "-", "-", "-"
    return _ms(spread["p50_ms"]), _ms(spread["p95_ms"]), _ms(spread["p99_ms"])


def _ms(value: float) -> str:
    """Write a duration in five places at most, without a space for want of room: 0.1ms, 25ms, 2.1s, 12m."""
    if value < 9.95:  # noqa: PLR2004 - two digits
        return f"{value:.1f}ms"
    if value < 999.5:  # noqa: PLR2004 - three digits
        return f"{value:.0f}ms"
    seconds = value / 1000
    if seconds < 99.95:  # noqa: PLR2004 - three digits
        return f"{seconds:.1f}s"
    return f"{seconds / 60:.0f}m"


def span(seconds: float) -> str:
    """Write a longer time by its two largest units."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _count(number: int) -> str:
    """Write a count in five places at most."""
    if number < 100_000:  # noqa: PLR2004 - five digits
        return str(number)
    return f"{number / 1e6:.1f}M" if number >= 1_000_000 else f"{number // 1000}k"  # noqa: PLR2004 - a million
