# `try`: a conversation with recordings, heard and answered by this checkout.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

readonly questions=('what time is it' 'set a timer for five minutes' 'turn on the lamp')

write_try_config() { # sets `pins`
  local driver=simulated
  pins='There are no GPIO pins here: the lamp is a simulated one.'
  if grep -qs 'Raspberry Pi' /proc/device-tree/model; then
    if [[ -r /dev/gpiochip0 && -w /dev/gpiochip0 ]]; then
      driver=auto pins='The lamp is real: GPIO 17 (pin 11 of the header) goes high.'
    else
      pins="GPIO can't be opened by $(id -un), so the lamp is a simulated one (sudo adduser $(id -un) gpio, then log in again)."
    fi
  fi
  cat >"$root/try/config.toml" <<END
# Written by ./install.sh try; every key is described by \`edge-agent config schema\`.
[gpio]
driver = "$driver"

[gpio.outputs.lamp]
pin = 17

[directories]
models = "$root/models"
END
}

show_turns() { # prints each turn of `converse --json` as it ends; status 1 names what was not understood
  /usr/bin/python3 -c "$(
    cat <<'END'
import json, os, sys

here, *questions = sys.argv[1:]
styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
bold, dim, plain = ("\033[1m", "\033[2m", "\033[0m") if styled else ("", "", "")
turns = []
for line in sys.stdin:
    turn = json.loads(line)
    turns.append(turn)
    times = turn["timings"]
    facts = [f"intent {turn['intent']}" if turn["source"] == "intent" else f"source {turn['source']}"]
    if turn["confidence"] is not None:
        facts.append(f"confidence {turn['confidence']:.2f}")
    if times["first_audio_s"] is not None and times["speech_end_s"] is not None:
        facts.append(f"answer began {times['first_audio_s'] - times['speech_end_s']:.2f} s after the last word")
    audio = os.path.relpath(turn["audio"], here) if turn["audio"] else "no audio"
    print(f"\n      You    {bold}{turn['heard'] or '(nothing understood)'}{plain}  {dim}try/question-{len(turns)}.wav{plain}")
    print(f"      Agent  {bold}{turn['reply'] or '(silence)'}{plain}  {dim}{audio}{plain}")
    print(f"             {dim}{' · '.join(facts)}{plain}", flush=True)

wrong = []
for number, question in enumerate(questions, 1):
    turn = turns[number - 1] if number <= len(turns) else {"heard": None, "source": "none", "reply": None, "audio": None}
    if turn["heard"] != question or turn["source"] != "intent":
        wrong.append(f"question {number}, {question!r}, was heard as {turn['heard']!r} (source: {turn['source']})")
    elif not (turn["reply"] and turn["audio"] and os.path.getsize(turn["audio"]) > 44):
        wrong.append(f"question {number}, {question!r}, got no spoken reply")
print()
if turns:
    print(*(f"      {problem}" for problem in wrong), sep="\n", end="\n" * bool(wrong))
sys.exit(bool(wrong))
END
  )" "$root" "${questions[@]}"
}

add_quiet() { # WAV: a second of it behind the words, so that the end of speech is found as with a microphone
  /usr/bin/python3 - "$1" <<'END'
import sys, wave

with wave.open(sys.argv[1]) as file:
    layout, frames = file.getparams(), file.readframes(file.getnframes())
with wave.open(sys.argv[1], "wb") as file:
    file.setparams(layout)
    file.writeframes(frames + bytes(layout.framerate * layout.nchannels * layout.sampwidth))
END
}

hold_conversation() {
  local number files=() status=(0 0)
  begin 'A conversation' 'one Flite voice (rms) asks, the agent hears, understands, acts and answers'
  mkdir -p "$root/try"
  write_try_config
  say "$pins"
  for number in "${!questions[@]}"; do
    files+=("$root/try/question-$((number + 1)).wav")
    flite -voice rms -t "${questions[number]}" -o "${files[-1]}" >>"$log" 2>&1 || fail_with_log 'Flite could not speak.' "$(cause)"
    add_quiet "${files[-1]}"
  done
  "$venv/bin/edge-agent" converse "${files[@]}" --json --out "$root/try" --config "$root/try/config.toml" 2>>"$log" | show_turns || status=("${PIPESTATUS[@]}")
  if ((status[0])); then fail_with_log 'The agent failed in the conversation.' "See docs/install.md, or ask where edge_agent comes from and add $log."; fi
  if ((status[1])); then fail_with_log 'Not every question was understood and answered.' 'Listen to try/*.wav, and watch it again: .venv/bin/edge-agent converse try/question-*.wav --config try/config.toml'; fi
  finish 'heard, understood and answered'
}

tell_what_next() {
  printf '\n%sThe agent works.%s Questions and answers are in try/*.wav.\n' "$bold" "$plain"
  if [[ -n $missing_llm ]]; then printf '%sWithout the language model engine:%s %s\n' "$bold" "$plain" "$missing_llm"; fi
  cat <<'END'

  .venv/bin/edge-agent run                      talk to it: a microphone and a speaker are all it needs
  .venv/bin/edge-agent ask "what can you do"    ask in writing
  models/README.md                              better hearing, nicer voices, a language model
END
  if [[ -t 0 && -t 1 ]] && grep -qs capture /proc/asound/pcm; then
    local answer
    read -r -p $'\nThere is a microphone. Talk to it now? [Y/n] ' answer || answer=n
    if [[ ! $answer =~ ^[Nn] ]]; then exec "$venv/bin/edge-agent" run --config "$root/try/config.toml"; fi
  fi
}

