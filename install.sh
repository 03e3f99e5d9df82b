#!/usr/bin/env bash
# Installs edge_agent as a service, or sets it up in this checkout: see `./install.sh --help` and docs/install.md.
set -euo pipefail
export LC_ALL=C.UTF-8 # messages of apt and pip are read below

usage() {
  cat <<'END'
Usage: sudo ./install.sh [install] [OPTION...]    install or mend the service: /opt/edge-agent, edge-agent.service
       sudo ./install.sh upgrade [OPTION...]      from this checkout; the release that runs stays until the new one has proved itself
       sudo ./install.sh rollback [OPTION...]     back to the release before
       sudo ./install.sh uninstall [--purge]      remove the service; --purge: its configuration, models, state and user, too
       ./install.sh try [--small]                 no service: set up this checkout, then hold a short spoken conversation
       ./install.sh test [ARGUMENT...]            set up likewise, then run every check and test; arguments go to pytest
       ./install.sh --help

Works on Debian 12 or 13 and on Raspberry Pi OS of the same age, 64-bit, with Python 3.11 or newer.
Debian packages come through apt (sudo is asked for only when something is missing). Run it again at any
time: what is there is kept, what an interrupted run left half done is repaired. `try` and `test` keep
everything else in this directory: .venv/, build/ and try/.

  --small               the embedded default only: PocketSphinx hears, Flite speaks. Without Vosk, Piper and
                        the language model engine, which takes minutes to compile. An upgrade stays small.
  --full                undo --small
  --dry-run             say what would be done; change nothing
  --wheelhouse DIR      install from the wheels in DIR; what it lacks is fetched or compiled into it first
  --offline             use no network: what is missing is an error that names it
  --no-models           fetch no models
  --swap                where memory is too small to compile, make a swap file for the time it takes
  --no-start            for images and chroots: enable the service, start nothing (by itself where systemd does not run)
  --desktop-audio [USER]
                        hear and speak through the sound server (PipeWire, PulseAudio) of a desktop's user
  --no-desktop-audio    undo that

CMAKE_BUILD_PARALLEL_LEVEL=N sets how many files are compiled at once; the default fits the memory.
Exit status: 0 done, 1 failed, 2 wrong usage.
END
}

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
readonly checkout
readonly dest=${DESTDIR:-} # below which everything of the host is looked for: a fake root, in tests
readonly opt=$dest/opt/edge-agent units=$dest/etc/systemd/system config=$dest/etc/edge-agent/config.toml state=$dest/var/lib/edge-agent
readonly releases=$opt/releases
# Where the environment is made; `install` moves them to the release that it builds.
root=$checkout venv=$root/.venv build=$root/build log=$root/build/install.log
readonly mib_per_job=1024 # the compiler takes 0.45 GiB for one file of llama.cpp (measured, x86-64); the system wants some too
readonly core_extras=(embedded vosk piper) llm_extras=(llm) # together: "standard" in pyproject.toml
small=false verb='' steps=6 step=0 step_began=0 missing_llm='' lock='' reason='' outcome='' jobs=1
dry_run=false offline=false wheelhouse='' with_models=true with_swap=false starts=true purge=false
desktop_user='' without_desktop=false full=false must_restart=false unit_changed=false
given='' # the options as they were given, to be typed again
planned=0 # what this step would do, in a dry run
told=false # whether the reason of a failure was
builds=true # whether anything is compiled here: a wheelhouse may hold it all
pytest_arguments=()

# shellcheck source=systemd/install/telling.sh
source "$checkout/systemd/install/telling.sh"
# shellcheck source=systemd/install/machine.sh
source "$checkout/systemd/install/machine.sh"
# shellcheck source=systemd/install/memory.sh
source "$checkout/systemd/install/memory.sh"
# shellcheck source=systemd/install/python.sh
source "$checkout/systemd/install/python.sh"
# shellcheck source=systemd/install/try.sh
source "$checkout/systemd/install/try.sh"
# shellcheck source=systemd/install/checks.sh
source "$checkout/systemd/install/checks.sh"
# shellcheck source=systemd/install/host.sh
source "$checkout/systemd/install/host.sh"
# shellcheck source=systemd/install/release.sh
source "$checkout/systemd/install/release.sh"
# shellcheck source=systemd/install/unit.sh
source "$checkout/systemd/install/unit.sh"
# shellcheck source=systemd/install/models.sh
source "$checkout/systemd/install/models.sh"
# shellcheck source=systemd/install/desktop.sh
source "$checkout/systemd/install/desktop.sh"
# shellcheck source=systemd/install/remove.sh
source "$checkout/systemd/install/remove.sh"

# ---------------------------------------------------------------- try and test

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

in_checkout() { # try, test
  exec {lock}<"$checkout/install.sh"
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

# ---------------------------------------------------------------- the service

is_root() { ((EUID == 0)); }

may_install() { is_root || [[ -n $dest ]]; }

as_service() { # install, upgrade, rollback, uninstall
  may_install || fail "$verb needs root." "sudo ./install.sh $verb$given"
  umask 022
  cd /
  root=$opt venv=$opt/.none build=$opt/build
  log=$dest/var/log/edge-agent-install.log
  if $dry_run; then log=/dev/null; fi
  if [[ ! -d $dest/run/systemd/system ]] && $starts; then
    starts=false
    printf 'systemd does not run here: nothing is %s.\n' "$(if [[ $verb == uninstall ]]; then echo 'to be stopped'; else echo 'started, as with --no-start'; fi)"
  fi
  if ! $dry_run; then
    mkdir -p "$dest/var/log"
    (umask 077 && : >"$log")
    if [[ $verb != uninstall || -d $opt ]]; then
      mkdir -p "$opt"
      exec {lock}<"$opt"
      flock -n "$lock" || fail 'Another install.sh is at work.' 'Wait for it, then run this again.'
    fi
  fi
  trap stopped INT TERM
  trap leave EXIT
  printf '%sedge_agent%s %s%s\n' "$bold" "$plain" "$verb" "$(if $dry_run; then echo ', dry run: nothing is changed'; else echo " · full log: $log"; fi)"
  case $verb in
    install | upgrade) install_service ;;
    rollback) roll_back ;;
    uninstall) steps=$(if $purge; then echo 3; else echo 2; fi) && uninstall ;;
  esac
  if $dry_run; then printf '\nNothing was changed.\n'; fi
}

leave() { # whatever happens nothing is lent for longer than this runs, and no failure goes without a word
  local status=$?
  if ! $dry_run; then return_swap; fi
  if ((status != 0)) && ! $told; then printf '\n%s✗ It ended unexpectedly.%s%s\n' "$red" "$plain" "$(see_log)" >&2; fi
}

stopped() {
  trap - INT TERM
  told=true
  printf '\n%sStopped.%s %s Run it again: it goes on where it was.\n' "$bold" "$plain" \
    "$(if [[ -n $(release_at current) ]]; then echo "Release $(release_at current) is in use."; fi)" >&2
  exit 130
}

install_service() {
  local now name
  now=$(release_at current)
  if [[ $verb == upgrade && -z $now ]]; then fail 'There is nothing to upgrade here.' 'sudo ./install.sh'; fi
  if [[ -n $desktop_user ]]; then getent passwd "$desktop_user" >/dev/null || fail "There is no user $desktop_user." 'sudo ./install.sh --desktop-audio USER'; fi
  if ! $full && [[ -f $opt/current/.small ]]; then small=true; fi
  name=$(release_name)
  if is_complete "$name" || ! needs_compiler; then builds=false; fi
  count_steps "$name"
  root=$releases/$name venv=$releases/$name/.venv
  check_machine
  install_debian_packages
  name=$(release_name) # again: Python may have come, or changed, only now
  count_steps "$name"
  root=$releases/$name venv=$releases/$name/.venv
  make_account
  begin 'Release' "$(tell_change "$now" "$name")"
  if ! is_proved "$name"; then
    if $dry_run; then
      plan_release "$name" "$now"
    else
      prune "$name" # what an interrupted run left takes disk space
      build_release "$name"
    fi
  else
    finish "$name, there already"
    if ! is_complete "$name"; then if $dry_run; then plan_engine; else build_engine; fi; fi
    check_config "$name" || fail "The configuration does not fit: $reason" "Mend $config, then run this again."
  fi
  fetch_models "$name"
  if [[ -n $desktop_user ]]; then set_up_desktop_audio "$desktop_user"; fi
  if $without_desktop; then remove_desktop_audio; fi
  begin 'Service' "$unit"
  activate "$name"
  prune "$name"
  if $dry_run; then return 0; fi
  rm -rf "$build"
  tell_outcome "$now" "$name"
}

count_steps() { # RELEASE: those of `install_service`
  steps=6
  if ! is_proved "$1"; then
    steps=$(if $small; then echo 9; else echo 10; fi)
  elif ! is_complete "$1"; then
    steps=7
  fi
  if [[ -n $desktop_user ]]; then steps=$((steps + 1)); fi
}

is_complete() { # RELEASE: whether nothing of it is left to be built
  is_proved "$1" && { $small || [[ ! -f $releases/$1/.without-llm ]]; }
}

tell_change() { # FROM TO
  if [[ -z $1 ]]; then
    echo "$2"
  elif [[ $1 == "$2" ]]; then
    echo "$2 is in use"
  else
    echo "from $1 to $2"
  fi
}

tell_outcome() { # FROM TO
  show_health
  if [[ -z $1 ]]; then
    printf '\n%sInstalled.%s %s\n' "$bold" "$plain" "$2"
  elif [[ $1 == "$2" ]]; then
    printf '\n%s is installed.\n' "$2"
  else
    printf '\n%sUpgraded%s from %s to %s. Back again: sudo %s/install.sh rollback\n' "$bold" "$plain" "$1" "$2" "$opt/current"
  fi
  if [[ -n $missing_llm ]]; then printf '%sWithout the language model engine:%s %s\n' "$bold" "$plain" "$missing_llm"; fi
  cat <<'END'

  sudo edge-agent setup                     microphone, speaker, language, wake word, broker
  sudo edge-agent doctor                    what is wrong, and what to do
  journalctl --unit edge-agent --follow     what it hears and does
  /etc/edge-agent/config.toml               its configuration; then: sudo systemctl reload edge-agent
END
}

roll_back() {
  local now target
  now=$(release_at current) target=$(release_at previous)
  steps=2
  if [[ -z $target || $target == "$now" ]]; then fail 'There is no release to go back to.' "In use: ${now:-none}"; fi
  begin 'Trial of the release' "from $now back to $target"
  is_proved "$target" || fail "Release $target is not whole." 'sudo ./install.sh installs the release of this checkout.'
  root=$releases/$target venv=$releases/$target/.venv
  as_agent "$venv/bin/edge-agent" --version >>"$log" 2>&1 || fail "Release $target does not start any more." "$now stays.$(see_log)"
  check_config "$target" || fail "The configuration does not fit release $target: $reason" "Mend $config, then run this again. $now stays."
  finish 'it works'
  begin 'Service' "$unit"
  activate "$target"
  if $dry_run; then return 0; fi
  show_health
  printf '\n%sBack%s at %s; %s is kept, and one more rollback returns to it.\n' "$bold" "$plain" "$target" "$now"
}

# ---------------------------------------------------------------- arguments

read_arguments() {
  if (($# == 0)) || [[ $1 == --* && $1 != --help ]]; then
    if (($# == 0)) && ! is_root; then usage_error 'say what to do: try or test, or with sudo install'; fi
    set -- install "$@"
  fi
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
    install | upgrade | rollback | uninstall)
      if (($#)); then given=$(printf ' %q' "$@"); fi
      read_options "$@"
      ;;
    *) usage_error "there is no '$verb', only install, upgrade, rollback, uninstall, try and test" ;;
  esac
}

read_options() { # of install, upgrade, rollback, uninstall
  local known
  case $verb in
    install | upgrade) known=' --small --full --dry-run --wheelhouse --offline --no-models --swap --no-start --desktop-audio --no-desktop-audio ' ;;
    rollback) known=' --dry-run --no-start ' ;;
    uninstall) known=' --dry-run --purge ' ;;
  esac
  while (($#)); do
    if [[ $1 != -h && $1 != --help && $known != *" ${1%%=*} "* ]]; then usage_error "$verb does not know '$1'"; fi
    case $1 in
      -h | --help)
        usage
        exit 0
        ;;
      --small) small=true ;;
      --full) full=true ;;
      --dry-run) dry_run=true ;;
      --offline) offline=true ;;
      --no-models) with_models=false ;;
      --swap) with_swap=true ;;
      --no-start) starts=false ;;
      --purge) purge=true ;;
      --no-desktop-audio) without_desktop=true ;;
      --wheelhouse=*) wheelhouse=${1#*=} ;;
      --wheelhouse)
        if (($# < 2)); then usage_error '--wheelhouse takes a directory'; fi
        wheelhouse=$2
        shift
        ;;
      --desktop-audio=*) desktop_user=${1#*=} ;;
      --desktop-audio)
        if (($# > 1)) && [[ $2 != --* ]]; then
          desktop_user=$2
          shift
        else
          desktop_user=${SUDO_USER:-}
          if [[ -z $desktop_user ]]; then usage_error '--desktop-audio: say whose desktop it is'; fi
        fi
        ;;
      *) usage_error "$1 takes no value" ;;
    esac
    shift
  done
  if [[ -n $wheelhouse ]]; then
    if $offline && [[ ! -d $wheelhouse ]]; then usage_error "there is no directory $wheelhouse"; fi
    wheelhouse=$(realpath -m "$wheelhouse")
  fi
}

main() {
  read_arguments "$@"
  case $verb in
    try | test) in_checkout ;;
    *) as_service ;;
  esac
}

# Sourced, as tests/test_install.py does, it only defines functions.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
