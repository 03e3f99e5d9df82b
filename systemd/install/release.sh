# Releases: built beside the one in use, proved, then switched to by one rename; the one before stays for `rollback`.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

readonly project=(install.sh pyproject.toml README.md LICENSE edge_agent docs systemd models)

project_files() { # what of the checkout goes into a release, relative, one a line; models are data, not program
  (cd "$checkout" && find "${project[@]}" -type f ! -path '*/__pycache__/*' ! -name '*.pyc' ! -path '*.egg-info/*' \
    \( ! -path 'models/*' -o -path 'models/*.md' -o -path 'models/*.toml' \) | LC_ALL=C sort)
}

extras_wanted() {
  if $small; then echo embedded; else echo "${core_extras[@]}" "${llm_extras[@]}"; fi
}

release_name() { # VERSION-HASH: of the project's files, and of what they are installed for
  local hash
  hash=$({
    /usr/bin/python3 -VV 2>/dev/null || python_version
    uname -m
    extras_wanted
    if ! $small; then processor; fi
    (cd "$checkout" && project_files | tr '\n' '\0' | xargs -0 sha256sum)
  } | sha256sum | cut -c-10)
  echo "$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$checkout/edge_agent/__init__.py")-$hash"
}

release_at() { # current|previous: the name of the release that it is; nothing where there is none
  local target
  target=$(readlink "$opt/$1" 2>/dev/null) || return 0
  if [[ -d $releases/$(basename "$target") ]]; then basename "$target"; fi
}

is_proved() { [[ -n $1 && -f $releases/$1/.proved ]]; } # RELEASE

as_agent() { # COMMAND...: as the service's user, with nothing of this shell's environment, and a home that goes again
  local scratch status=0 clean user=()
  scratch=$(mktemp -d /tmp/edge-agent-trial.XXXXXX)
  if ((EUID == 0)) && getent passwd "$account" >/dev/null; then
    chown "$account:$account" "$scratch"
    user=(runuser -u "$account" --)
  fi
  clean=(env -i PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 "HOME=$scratch" "TMPDIR=$scratch" "LG_WD=$scratch")
  (cd "$scratch" && "${user[@]}" "${clean[@]}" "$@") || status=$?
  rm -rf "$scratch"
  return "$status"
}

copy_project() { # into $root; what an interrupted run left of it goes first
  rm -f "$root/.proved"
  mkdir -p "$root"
  find "$root" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
  (cd "$checkout" && project_files | tar --create --no-recursion --files-from=- --owner=0 --group=0) |
    tar --extract --directory="$root" --no-same-owner || return 1
  find "$root" -mindepth 1 -maxdepth 1 ! -name .venv -exec chmod -R u=rwX,go=rX {} +
}

build_release() { # NAME: makes `releases/NAME` ready to be used, or fails and leaves the one in use as it is
  root=$releases/$1 venv=$releases/$1/.venv
  say "release $1"
  copy_project || fail_with_log 'The release could not be copied.' "$(cause)"
  finish 'copied'
  make_environment
  begin 'Python packages' "hearing, speaking, pins, MQTT: $(if $small; then echo embedded; else IFS=,; echo "${core_extras[*]}"; fi)"
  if $small; then install_extras embedded; else install_extras "${core_extras[@]}"; fi ||
    fail_with_log 'The Python packages could not be installed.' "$(cause)"
  finish "$outcome"
  if ! $small; then build_engine; fi
  begin 'Trial of the release' 'the command, every engine, and the configuration that is there'
  prove "$1"
  if $small; then touch "$root/.small"; fi
  sync -f "$root"
  touch "$root/.proved"
  finish 'it works'
}

plan_release() { # NAME IN_USE: what `build_release` would do
  local extras from
  extras=$(if $small; then echo embedded; else IFS=,; echo "${core_extras[*]}"; fi)
  if [[ -n $wheelhouse ]]; then
    from="from $wheelhouse$(if ! $offline; then echo ', and bring there what it lacks'; fi)"
  else
    from=$(if $offline; then echo "from pip's cache, without a network"; else echo 'from PyPI'; fi)
  fi
  would "copy the project to $releases/$1"
  begin 'Virtual environment' "$releases/$1/.venv"
  would "make it, with Python $(python_version)"
  begin 'Python packages' "hearing, speaking, pins, MQTT: $extras"
  would "install them $from"
  if ! $small; then plan_engine; fi
  begin 'Trial of the release' 'the command, every engine, and the configuration that is there'
  would "try them as user $account$(if [[ -n $2 ]]; then echo "; if one fails, $2 stays in use"; fi)"
}

begin_engine() {
  begin 'Language model engine' "llama.cpp for this machine's processor$(dot_products), $jobs at a time; kept in pip's cache"
}

plan_engine() { # what `build_engine` would do
  local memory
  begin_engine
  memory=$(mib 'MemAvailable SwapFree')
  if [[ -n $wheelhouse ]] && has_wheel llama_cpp_python; then
    would "install it from $wheelhouse"
  elif ((memory >= mib_to_compile)); then
    would "compile it, unless pip's cache has it"
  elif $with_swap; then
    would "compile it, unless pip's cache has it, with a swap file of $swap_mib MiB for the time it takes"
  else
    would "leave it out, unless pip's cache has it: $memory MiB of memory and swap are too little to compile it (--swap, --wheelhouse)"
  fi
}

build_engine() { # the language model engine; without it the rest works, so this never fails the installation
  begin_engine
  missing_llm=''
  if has_engine || room_to_compile; then
    if install_extras "${llm_extras[@]}"; then
      rm -f "$root/.without-llm"
      return_swap
      check_engine
      finish "$outcome"
      return
    fi
    missing_llm=$(cause)
  fi
  return_swap
  touch "$root/.without-llm"
  rm -f "$venv/.unfinished"
  say "${red}✗${plain} left out: $missing_llm"
}

has_engine() { # whether it need not be compiled
  [[ -n $(find "$venv"/lib/python3*/site-packages -maxdepth 1 -name 'llama_cpp_python-*' 2>/dev/null) ]] ||
    { [[ -n $wheelhouse ]] && has_wheel llama_cpp_python; } || has_cached_engine
}

has_cached_engine() { # whether pip keeps one from an earlier release
  local kept
  kept=$("$venv/bin/pip" cache dir 2>/dev/null) &&
    [[ -n $(find "$kept/edge-agent-$(processor)" -name 'llama_cpp_python-*.whl' 2>/dev/null) ]]
}

has_feature() { [[ " $(grep -m1 '^Features' /proc/cpuinfo || true) " == *" $1 "* ]]; } # NAME: of an Arm processor

dot_products() { # what of Arm's instructions for 8-bit integers the processor has: they decide how fast a model reads
  if has_feature asimddp; then printf ', with dot product'; fi
  if has_feature i8mm; then printf ' and i8mm'; fi
}

check_engine() { # says so where what was compiled does not use them
  local info
  if ! has_feature asimddp; then return 0; fi
  info=$(as_agent "$venv/bin/python" -c 'import llama_cpp; print(llama_cpp.llama_print_system_info().decode())' 2>>"$log") || return 0
  printf '%s\n' "$info" >>"$log"
  if [[ $info != *'DOTPROD = 1'* ]]; then say "It does not use the processor's dot product, and is slower for it: see CMAKE_ARGS in docs/install.md."; fi
  if has_feature i8mm && [[ $info != *'MATMUL_INT8 = 1'* ]]; then say "It does not use the processor's i8mm, and reads slower for it."; fi
}

prove() { # RELEASE: fails, and names what does not work, before anything is switched
  local venv=$releases/$1/.venv modules=(sounddevice soxr webrtcvad pymicro_wakeword pocketsphinx gpiozero lgpio aiomqtt aiohttp cryptography systemd.daemon uvloop prometheus_client)
  local module said
  if [[ -d $releases/$1/edge_agent ]]; then "$venv/bin/python" -m compileall -q "$releases/$1/edge_agent" >>"$log" 2>&1 || true; fi
  said=$(as_agent "$venv/bin/edge-agent" --version 2>&1) || fail "edge-agent does not start: $(tail -n 1 <<<"$said")" "The release in use stays. Log: $log"
  say "$said"
  if ! $small; then modules+=(vosk piper onnxruntime); fi
  if ! $small && [[ ! -f $releases/$1/.without-llm ]]; then modules+=(llama_cpp); fi
  # One after the other in one process, each named before: also what ends the process is then found.
  if ! said=$(as_agent "$venv/bin/python" -c 'import importlib, sys
for name in sys.argv[1:]:
    print("LOADING", name, flush=True)
    importlib.import_module(name)' "${modules[@]}" 2>&1); then
    printf '%s\n' "$said" >>"$log"
    module=$(sed -n 's/^LOADING //p' <<<"$said" | tail -n 1)
    fail "${module:-Python} can't be loaded: $(tail -n 1 <<<"$said")" "The release in use stays. Log: $log"
  fi
  say "${#modules[@]} parts load"
  check_config "$1" || fail "The configuration does not fit this release: $reason" "Mend $config, then run this again. The release in use stays."
}

check_config() { # RELEASE: status 1, `reason` set, where it refuses the configuration
  local said
  if [[ ! -e $config ]]; then return 0; fi
  if ! said=$(as_agent "$releases/$1/.venv/bin/edge-agent" config check "$config" 2>&1); then
    printf '%s\n' "$said" >>"$log"
    printf '%s\n' "$said" | sed 's/^/      /'
    reason=$(tail -n 1 <<<"$said")
    return 1
  fi
}

point() { # current|previous RELEASE: by a rename, so that at any moment it is the old one or the new
  ln -sfn "releases/$2" "$opt/.$1.new"
  mv -T "$opt/.$1.new" "$opt/$1"
  sync -f "$opt"
}

switch_to() { # RELEASE
  local now
  now=$(release_at current)
  if [[ $now == "$1" ]]; then return 0; fi
  if [[ -n $now ]]; then point previous "$now"; fi
  point current "$1"
}

prune() { # [RELEASE]: keeps that one, the release in use and the one before
  local path name current previous
  current=$(release_at current) previous=$(release_at previous)
  if $dry_run && [[ -n $current && -n ${1:-} && $1 != "$current" ]]; then previous=$current; fi # as it would be by now
  for path in "$releases"/*; do
    name=$(basename "$path")
    if [[ ! -d $path || $name == "$current" || $name == "$previous" || $name == "${1:-}" ]]; then continue; fi
    if would "remove release $name"; then continue; fi
    rm -f "$path/.proved" # first: what is half removed must not be taken for a release
    rm -rf "$path"
    say "removed release $name"
  done
}
