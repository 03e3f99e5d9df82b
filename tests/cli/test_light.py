"""The command line starts light: nothing heavy is imported before it is used."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "numpy", "hassil", "pydantic", "vosk", "piper", "onnxruntime", "llama_cpp", "pocketsphinx", "sounddevice",
    "soxr", "gpiozero", "lgpio", "aiomqtt", "webrtcvad", "pymicro_wakeword", "rich", "uvloop", "asyncio",
}  # fmt: skip


def modules_after(*arguments: str) -> set[str]:
    """Run the command line in a child and return the top-level modules it imported."""
    code = (
        "import sys, json, edge_agent.cli.main as main\n"
        f"sys.argv = ['edge-agent', *{list(arguments)!r}]\n"
        "main.run()\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy() -> None:
    """`--help` needs click and no more."""
    assert modules_after("--help") & HEAVY == set()


def test_configuration_needs_no_engine() -> None:
    """`config schema` loads pydantic and no engine, no audio library and no numpy."""
    assert modules_after("config", "schema") & HEAVY <= {"pydantic", "asyncio"}
