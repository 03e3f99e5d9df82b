#!/usr/bin/env bash
# Sets edge_agent up in this checkout: see `./install.sh --help` and docs/install.md.
set -euo pipefail
export LC_ALL=C.UTF-8 # messages of apt and pip are read below

usage() {
  cat <<'END'
Usage: ./install.sh try [--small]        set up this checkout, then hold a short spoken conversation
       ./install.sh test [ARGUMENT...]   set up likewise, then run every check and test; arguments go to pytest
       ./install.sh --help

Works on Debian 12 or 13 and on Raspberry Pi OS of the same age, 64-bit, with Python 3.11 or newer.
Debian packages come through apt (sudo is asked for only when something is missing); everything
else stays in this directory: .venv/, build/ and try/. Run it again at any time: what is there is
kept, what an interrupted run left half done is repaired.

  --small   the embedded default only: PocketSphinx hears, Flite speaks. Without Vosk, Piper and
            the language model engine, which takes minutes to compile.

CMAKE_BUILD_PARALLEL_LEVEL=N sets how many files are compiled at once; the default fits the memory.
Exit status: 0 done, 1 failed, 2 wrong usage.
END
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly root venv=$root/.venv build=$root/build
readonly log=$build/install.log
readonly mib_per_job=1024 # the compiler takes 0.45 GiB for one file of llama.cpp (measured, x86-64); the system wants some too
readonly core_extras=(embedded vosk piper) llm_extras=(llm) # together: "standard" in pyproject.toml
small=false verb='' steps=6 step=0 step_began=0 missing_llm=''
pytest_arguments=()

# ---------------------------------------------------------------- telling

if [[ -t 1 ]]; then live=true; else live=false; fi
if $live && [[ -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' green='' red='' plain=''
fi

begin() { # TITLE WHY
  step=$((step + 1)) step_began=$EPOCHSECONDS
  printf '\n%s[%d/%d] %s%s\n      %s%s%s\n' "$bold" "$step" "$steps" "$1" "$plain" "$dim" "$2" "$plain"
  printf '\n===== [%d/%d] %s\n' "$step" "$steps" "$1" >>"$log"
}

say() { printf '      %s\n' "$1"; }

finish() { # WHAT: closes a step
  printf '      %s✓%s %s %s(%s)%s\n' "$green" "$plain" "$1" "$dim" "$(duration $((EPOCHSECONDS - step_began)))" "$plain"
}

duration() { # SECONDS
  if (($1 >= 60)); then printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi
}

fail() { # WHAT [REMEDY]: the last line anyone reads, so it says what to do
  printf '\n%s✗ %s%s\n' "$red" "$1" "$plain" >&2
  if [[ -n ${2:-} ]]; then printf '  %s\n' "$2" >&2; fi
  exit 1
}

fail_with_log() { # WHAT REMEDY
  printf '\n%s  the last lines of %s:%s\n' "$dim" "$log" "$plain" >&2
  tail -n 12 "$log" | cut -c -200 | sed 's/^/  | /' >&2
  fail "$1" "$2"
}

usage_error() {
  printf 'install.sh: %s (see ./install.sh --help)\n' "$1" >&2
  exit 2
}

cause() { # what the log's end says went wrong, as something to do
  case $(tail -n 80 "$log") in
    *'No space left on device'*) echo 'The disk is full: free some space and run this again.' ;;
    *'not yet valid'*) echo "The clock is wrong ($(date '+%F %R')): set the date and run this again." ;;
    *CERTIFICATE_VERIFY_FAILED*) echo "The package registry's certificate is not trusted here: check the date and any proxy." ;;
    *'emporary failure'*resol* | *'Could not resolve'* | *'Name or service not known'* | *'Network is unreachable'* | *NewConnectionError* | *'Connection timed out'* | *ConnectTimeout* | *'Could not connect'* | *'Failed to fetch'*)
      echo "Can't reach the package registries (deb.debian.org, pypi.org): check the network and run this again." ;;
    *'Could not get lock'*) echo 'Another program is installing Debian packages: wait for it and run this again.' ;;
    *'Killed signal'* | *'out of memory'*) echo 'The compiler ran out of memory: close programs or add swap, then: CMAKE_BUILD_PARALLEL_LEVEL=1 ./install.sh '"$verb" ;;
    *) echo 'The log says why; run this again once that is mended.' ;;
  esac
}

# Runs a command with its output in the log; shows the latest telling line: in place on a terminal, else every 15 s.
quietly() {
  local status=0
  "$@" </dev/null 2>&1 | follow || status=$?
  if $live; then printf '\r\e[K'; fi
  return "$status"
}

follow() {
  local line='' part text='starting' told=$EPOCHSECONDS status columns=80 compiling_since=''
  if $live; then columns=$(tput cols 2>/dev/null || echo 80); fi
  while true; do
    status=0
    IFS= read -r -t 1 part || status=$?
    line+=$part
    if ((status == 0)); then
      printf '%s\n' "$line" >>"$log"
      describe "$line"
      line=''
    elif ((status <= 128)); then
      if [[ -n $line ]]; then printf '%s\n' "$line" >>"$log"; fi
      return 0
    fi
    if $live; then
      printf '\r\e[K      %s%s · %s%s' "$dim" "${text:0:columns-20}" "$(duration $((EPOCHSECONDS - step_began)))" "$plain"
    elif ((EPOCHSECONDS - told >= 15)); then
      told=$EPOCHSECONDS
      say "$text · $(duration $((EPOCHSECONDS - step_began)))"
    fi
  done
}

describe() { # LINE: sets `text`
  if [[ $1 =~ ^\ *\[([0-9]+)/([0-9]+)\] ]]; then
    local done=${BASH_REMATCH[1]} of=${BASH_REMATCH[2]}
    : "${compiling_since:=$EPOCHSECONDS}"
    text="compiling $done of $of, $((100 * done / of)) %"
    if ((done >= 8)); then text+=", about $(duration $(((EPOCHSECONDS - compiling_since) * (of - done) / done))) left"; fi
  elif [[ $1 =~ ^Get:[0-9]+\ [^\ ]+\ [^\ ]+\ [^\ ]+\ ([a-z0-9][^\ ]*) ]]; then
    text="downloading ${BASH_REMATCH[1]}"
  elif [[ $1 =~ ^(Get|Hit):[0-9] ]]; then
    text='reading the lists of packages'
  elif [[ $1 =~ ^(Unpacking|Setting\ up)\ ([^\ ]+) ]]; then
    text="${BASH_REMATCH[1]@L} ${BASH_REMATCH[2]}"
  elif [[ $1 =~ ^\ *Downloading\ ([^\ ]+)\ (\(.*\)) ]]; then
    local file=${BASH_REMATCH[1]##*/}
    text="downloading ${file%%-*} ${BASH_REMATCH[2]}"
  elif [[ $1 =~ ^\ *Building\ .*for\ ([^\ ]+) ]]; then
    text="building ${BASH_REMATCH[1]}"
  elif [[ $1 == 'Installing collected packages'* ]]; then
    text='copying the packages into .venv'
    touch "$venv/.unfinished"
  fi
}

# ---------------------------------------------------------------- setting up

mib() { awk -v keys="$1" '{ sub(":", "", $1) } index(" " keys " ", " " $1 " ") { kib += $2 } END { print int(kib / 1024) }' /proc/meminfo; }

os_release() { sed -n "s/^$1=//p" /etc/os-release | tr -d '"'; }

jobs_for() { # MEMORY_MIB CORES: how many files to compile at once
  local jobs=$(($1 / mib_per_job))
  if ((jobs > $2)); then jobs=$2; fi
  echo $((jobs < 1 ? 1 : jobs))
}

check_machine() {
  local architecture memory disk needed
  begin 'This machine' 'what there is to work with'
  architecture=$(uname -m)
  case $architecture in
    x86_64 | aarch64) ;;
    *) fail "The speech libraries exist for x86-64 and 64-bit Arm only; this is $architecture." 'On a Raspberry Pi 3 or newer, install the 64-bit Raspberry Pi OS.' ;;
  esac
  command -v apt-get >/dev/null || fail 'There is no apt-get here.' 'This script knows Debian and Raspberry Pi OS; docs/install.md lists what to install elsewhere.'
  memory=$(mib 'MemAvailable SwapFree')
  disk=$(($(df -Pk "$root" | awk 'NR == 2 { print $4 }') / 1024))
  jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(jobs_for "$memory" "$(nproc)")}
  say "$(os_release PRETTY_NAME), $architecture, $(nproc) cores, $memory MiB memory to use, $disk MiB disk free"
  if [[ -f /proc/device-tree/model ]]; then say "$(tr -d '\0' </proc/device-tree/model)"; fi
  needed=500
  if [[ ! -d $venv ]]; then
    needed=2500
    if $small; then needed=1200; fi
  fi
  ((disk >= needed)) || fail "This needs about $needed MiB of free disk; $root has $disk MiB." 'Free some space, or use a larger card.'
  if ! $small && ((memory < mib_per_job)); then
    say "Under 1 GiB of memory: compiling the language model engine may take hours; --small leaves it out."
  fi
  finish 'good enough'
}

debian_packages() { # one "name  why" a line
  cat <<'END'
python3-venv    the virtual environment all Python packages go into
libpython3-dev  Python's headers: systemd-python is compiled here
gcc             compiles systemd-python
pkg-config      finds libsystemd for it
libsystemd-dev  readiness, watchdog and journal of systemd
libportaudio2   microphone and speaker (sounddevice)
flite           speaks English with no model to download
espeak-ng       speaks most other languages with no model to download
END
  # lgpio has a wheel for Debian 12's Python 3.11, none for Debian 13's 3.13.
  if [[ $(os_release VERSION_ID) != 12 ]]; then
    cat <<'END'
swig            lgpio (GPIO) has no wheel for this Python and is compiled here
END
  fi
  if ! $small; then
    cat <<'END'
g++             compiles the language model engine, llama.cpp
cmake           configures that build
ninja-build     runs that build
END
  fi
  if [[ $verb == test ]]; then
    cat <<'END'
pulseaudio          null sinks that stand in for microphone and speaker
pulseaudio-utils    sets them up (pactl)
libasound2-plugins  lets PortAudio open them
mosquitto           the MQTT broker that tests publish to
sox                 writes the WAV header of unknown length that a pipe gets
END
  fi
}

install_debian_packages() {
  local name why names=()
  begin 'Debian packages' 'what no Python package can bring'
  while read -r name why; do
    if [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) != installed ]]; then
      names+=("$name")
      say "$(printf '%-19s %s' "$name" "$why")"
    fi
  done < <(debian_packages)
  if ((${#names[@]} == 0)); then
    finish 'all there'
    return
  fi
  as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "${#names[@]} Debian packages are missing, and this is neither root nor is there sudo." "As root: apt-get install --no-install-recommends ${names[*]}"
    say 'sudo is needed to install them; it may ask for your password.'
    sudo true || fail 'sudo said no.' "As root: apt-get install --no-install-recommends ${names[*]}"
    as_root=(sudo)
  fi
  # A source that is down may not be one of those that matter: installing will tell.
  apt_get update || say 'apt could not read every source; trying with what it knows.'
  apt_get install --yes --no-install-recommends "${names[@]}" || fail_with_log 'The Debian packages could not be installed.' "$(cause)"
  finish "${#names[@]} installed"
}

apt_get() { # apt-get; waits up to two minutes for another one to finish, and finishes what an interrupted one began
  local until=$((EPOCHSECONDS + 120)) said
  while ! quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@"; do
    said=$(tail -n 10 "$log")
    if ((EPOCHSECONDS >= until)); then
      return 1
    elif [[ $said == *'dpkg was interrupted'* ]]; then
      quietly "${as_root[@]}" dpkg --configure -a || return 1
    elif [[ $said == *'Could not get lock'* ]]; then
      say 'Another program is installing Debian packages: waiting for it …'
      sleep 10
    else
      return 1
    fi
  done
}

make_environment() {
  local python=/usr/bin/python3 version
  begin 'Virtual environment' "Python packages stay in .venv; the system's Python is not touched"
  version=$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  $python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is Python $version; 3.11 or newer is needed." 'Debian 12, Raspberry Pi OS (Bookworm) or newer has it.'
  if [[ -e $venv && ! -w $venv ]]; then fail "$venv belongs to $(stat -c %U "$venv")." "Remove it and run this again: sudo rm -r '$venv'"; fi
  if [[ -f $venv/.unfinished ]]; then
    say 'An earlier run was interrupted while it installed: starting afresh.'
  elif [[ $("$venv/bin/python" -c 'import pip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == "$version" ]] &&
    grep -qsF "$venv" "$venv/bin/activate"; then # else the checkout was moved, or Debian's Python was upgraded
    finish "Python $version, there already"
    return
  fi
  rm -rf "$venv"
  mkdir "$venv"
  touch "$venv/.unfinished"
  quietly "$python" -m venv "$venv" || fail_with_log 'The virtual environment could not be made.' "$(cause)"
  rm "$venv/.unfinished"
  finish "Python $version"
}

stamp() { # EXTRA: what an installation of it depends on
  { "$venv/bin/python" -VV; echo "$root $1"; cat "$root/pyproject.toml"; if [[ $1 == "${llm_extras[0]}" ]]; then processor; fi; } | sha256sum
}

processor() { # what llama.cpp is compiled for: a card may be moved to another board
  { grep -m1 -E '^(flags|Features)' /proc/cpuinfo; echo "${CMAKE_ARGS:-}"; configure_llama /dev/stdout; } | sha256sum | cut -c-12
}

configure_llama() { # FILE: writes what CMake reads before it configures llama.cpp
  # Python needs neither llama.cpp's image models nor the library of its command line tools: two thirds of the work.
  # AMX needs the kernel's leave and, in a virtual machine, the hypervisor's. Seen: both say that it is there, and its
  # first instruction ends the process.
  cat >"$1" <<'END'
set(LLAMA_BUILD_COMMON OFF)
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-mno-amx-tile HAS_AMX)
if(HAS_AMX)
  add_compile_options(-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
endif()
END
}

install_extras() { # EXTRA...: status 0 done, 1 failed; sets `outcome`
  local extra missing=() listed cache=() kept
  for extra in "$@"; do
    if [[ $(cat "$venv/.installed/$extra" 2>/dev/null) != "$(stamp "$extra")" ]]; then missing+=("$extra"); fi
  done
  if ((${#missing[@]} == 0)); then
    outcome='all there'
    return 0
  fi
  listed=$(IFS=,; echo "${missing[*]}")
  # A board's /tmp may be a small RAM disk; compiling needs room.
  rm -rf "$build/tmp" && mkdir -p "$build/tmp" "$venv/.installed"
  configure_llama "$build/llama.cmake"
  if [[ $1 == "${llm_extras[0]}" ]]; then
    # pip takes wheels for the same whatever processor they were compiled for.
    if kept=$("$venv/bin/pip" cache dir 2>/dev/null); then cache=(--cache-dir "$kept/edge-agent-$(processor)"); fi
    if [[ $(cat "$venv/.installed/processor" 2>/dev/null) != "$(processor)" ]]; then
      quietly "$venv/bin/pip" uninstall --yes llama-cpp-python || return 1
    fi
  fi
  # PYPI=1 is lgpio's own switch: compile the C library that it carries, which Debian has not.
  PYPI=1 TMPDIR=$build/tmp CMAKE_BUILD_PARALLEL_LEVEL=$jobs \
    CMAKE_ARGS="-DLLAVA_BUILD=OFF '-DCMAKE_PROJECT_llama_cpp_INCLUDE=$build/llama.cmake' ${CMAKE_ARGS:-}" \
    quietly "$venv/bin/pip" install "${cache[@]}" --verbose --disable-pip-version-check --use-pep517 --editable "${root}[$listed]" || return 1
  rm -rf "$build/tmp"
  sync -f "$venv"
  rm -f "$venv/.unfinished"
  if [[ $1 == "${llm_extras[0]}" ]]; then processor >"$venv/.installed/processor"; fi
  for extra in "${missing[@]}"; do stamp "$extra" >"$venv/.installed/$extra"; done
  outcome=installed
}

set_up() {
  local extras=("${core_extras[@]}")
  if $small; then extras=(embedded); fi
  if [[ $verb == test ]]; then extras+=(test); fi
  check_machine
  install_debian_packages
  make_environment
  begin 'Python packages' "hearing, speaking, pins, MQTT: $(IFS=,; echo "${extras[*]}")"
  install_extras "${extras[@]}" || fail_with_log 'The Python packages could not be installed.' "$(cause)"
  finish "$outcome"
  if $small; then return; fi
  begin 'Language model engine' "llama.cpp, compiled for this machine's processor, $jobs at a time; kept in pip's cache"
  if install_extras "${llm_extras[@]}"; then
    finish "$outcome"
  elif [[ $verb == test ]]; then
    fail_with_log 'The language model engine could not be built.' "$(cause)"
  else
    missing_llm=$(cause)
    say "${red}✗${plain} could not be built; going on without it. $missing_llm (log: $log)"
  fi
}

# ---------------------------------------------------------------- try

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

# ---------------------------------------------------------------- test

run_checks() {
  local failed=()
  begin 'Checks and tests' 'ruff, mypy, the layers of imports, then pytest'
  cd "$root"
  check 'ruff check' "$venv/bin/ruff" check
  check 'ruff format' "$venv/bin/ruff" format --check
  check mypy "$venv/bin/mypy"
  check 'import layers' "$venv/bin/lint-imports"
  check pytest "$venv/bin/pytest" -n auto --durations=10 "${pytest_arguments[@]}"
  if ((${#failed[@]})); then
    fail "$(duration "$SECONDS"): $(printf '%s, ' "${failed[@]}" | sed 's/, $//') failed."
  fi
  printf '\n%s✓ all checks and tests passed%s (%s with setting up)\n' "$green" "$plain" "$(duration "$SECONDS")"
}

check() { # NAME COMMAND...: collects the failed ones
  local name=$1
  shift
  printf '\n%s── %s%s\n' "$bold" "$name" "$plain"
  "$@" || failed+=("$name")
}

# ---------------------------------------------------------------- arguments

read_arguments() {
  local argument
  if (($# == 0)); then usage_error 'say what to do: try or test'; fi
  verb=$1
  shift
  case $verb in
    -h | --help | help)
      usage
      exit 0
      ;;
    try)
      for argument in "$@"; do
        case $argument in
          --small) small=true steps=5 ;;
          -h | --help)
            usage
            exit 0
            ;;
          *) usage_error "try does not know '$argument'" ;;
        esac
      done
      ;;
    test) pytest_arguments=("$@") ;;
    *) usage_error "there is no '$verb', only try and test" ;;
  esac
}

main() {
  read_arguments "$@"
  exec {lock}<"$root/install.sh"
  flock -n "$lock" || fail 'Another install.sh is at work in this checkout.' 'Wait for it, then run this again.'
  mkdir -p "$build"
  : >"$log"
  trap 'printf "\n%sStopped.%s Run it again: it goes on where it was.\n" "$bold" "$plain" >&2; exit 130' INT TERM
  printf '%sedge_agent%s %s · full log: %s\n' "$bold" "$plain" "$verb" "$log"
  set_up
  exec {lock}<&-
  if [[ $verb == test ]]; then
    run_checks
  else
    hold_conversation
    tell_what_next
  fi
}

# Sourced, as tests/test_install.py does, it only defines functions.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
