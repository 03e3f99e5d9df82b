"""What the built-in intents answer and take; the words are in intents/<language>.yaml."""

from __future__ import annotations

from edge_agent.reason.time_of_day import DAY_VALUES, EVERY_VALUES, HALF_VALUES


def _slots(*names: str) -> frozenset[str]:
    return frozenset(names)


RESPONSE_SLOTS = {
    "time": _slots("time"),
    "date": _slots("date"),
    "timer_set": _slots("duration", "name"),
    "timer_needs_duration": _slots(),
    "timers_full": _slots("limit"),
    "timer_named": _slots("name"),
    "timer_unnamed": _slots("duration"),
    "timer_cancelled": _slots("timer"),
    "timers_all_cancelled": _slots("count"),
    "timer_paused": _slots("timer", "left"),
    "timers_all_paused": _slots("count"),
    "timer_resumed": _slots("timer", "left"),
    "timers_all_resumed": _slots("count"),
    "timer_left": _slots("timer", "left"),
    "timer_left_paused": _slots("timer", "left"),
    "timers_several": _slots("count", "timers"),
    "timers_count": _slots("count"),
    "timers_none": _slots(),
    "timers_none_running": _slots(),
    "timers_none_paused": _slots(),
    "timer_unknown": _slots("timer"),
    "timer_done": _slots("duration", "name"),
    "alarm_set": _slots("time", "day", "name"),
    "alarm_needs_time": _slots(),
    "alarm_past": _slots(),
    "alarms_full": _slots("limit"),
    "alarm_named": _slots("name"),
    "alarm_unnamed": _slots("time"),
    "alarm_told": _slots("time", "day", "name"),
    "alarm_cancelled": _slots("alarm"),
    "alarms_all_cancelled": _slots("count"),
    "alarms_several": _slots("count", "alarms"),
    "alarms_count": _slots("count", "alarms"),
    "alarm_next": _slots("time", "day", "name"),
    "alarms_none": _slots(),
    "alarm_unknown": _slots(),
    "alarm_due": _slots("time", "name"),
    "snoozed": _slots("duration"),
    "nothing_rings": _slots(),
    "missed": _slots("things"),
    "missed_while_off": _slots("things"),
    "volume_set": _slots("volume"),
    "volume_failed": _slots("reason"),
    "muted": _slots(),
    "unmuted": _slots(),
    "stopped": _slots(),
    "never_mind": _slots(),
    "nothing_to_repeat": _slots(),
    "not_understood": _slots(),
    "no_model": _slots(),
    "too_strained": _slots(),
    "model_is_loading": _slots(),
    "tool_failed": _slots(),
    "status": _slots("uptime", "temperature", "memory", "timers"),
    "status_uptime": _slots("uptime"),
    "status_temperature": _slots("temperature"),
    "status_temperature_unknown": _slots(),
    "status_memory": _slots("memory"),
    "status_memory_unknown": _slots(),
    "output_on": _slots("output"),
    "output_off": _slots("output"),
    "output_failed": _slots("output", "reason"),
    "done": _slots(),
    "help": _slots("outputs"),
}
"""The slots that each response may use."""

BUILTIN_SLOTS: dict[str, frozenset[str] | None] = {
    **dict.fromkeys(("hours", "minutes", "seconds", "hour", "minute", "volume", "step")),
    "switch": _slots("on", "off", "toggle"),
    "scope": _slots("all", "next"),
    "day": DAY_VALUES,
    **dict.fromkeys(("every", "every_2", "every_3"), EVERY_VALUES),
    "half": HALF_VALUES,
    "before": _slots("hour"),
    "moment": _slots("noon", "midnight"),
    "aspect": _slots("temperature", "uptime", "memory"),
}
"""What the built-in intents understand in a fixed slot: one of some words, or (None) a number."""
