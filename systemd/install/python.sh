# The virtual environment and what goes into it; llama.cpp is compiled for this processor.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

shown() { # PATH: as the checkout's user would call it
  echo "${1#"$checkout/"}"
}

python_version() { # also where it is not installed yet
  if [[ -x /usr/bin/python3 ]]; then
    /usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'
  elif [[ $(os_release VERSION_ID) == 12 ]]; then
    echo 3.11
  else
    echo 3.13
  fi
}

make_environment() {
  local python=/usr/bin/python3 version
  begin 'Virtual environment' "Python packages stay in $(shown "$venv"); the system's Python is not touched"
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
  if [[ -n $wheelhouse ]]; then
    install_from_wheelhouse "$listed" || return 1
  elif $offline; then
    run_pip install --no-index --editable "${root}[$listed]" || return 1
  else
    run_pip install --editable "${root}[$listed]" || return 1
  fi
  rm -rf "$build/tmp"
  sync -f "$venv"
  rm -f "$venv/.unfinished"
  if [[ $1 == "${llm_extras[0]}" ]]; then processor >"$venv/.installed/processor"; fi
  for extra in "${missing[@]}"; do stamp "$extra" >"$venv/.installed/$extra"; done
  outcome=installed
}

run_pip() { # install|wheel ARGUMENT...: with what the packages that are compiled here have to know
  local verb_of_pip=$1
  shift
  # PYPI=1 is lgpio's own switch: compile the C library that it carries, which Debian has not.
  PYPI=1 TMPDIR=$build/tmp CMAKE_BUILD_PARALLEL_LEVEL=$jobs \
    CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF '-DCMAKE_PROJECT_llama_cpp_INCLUDE=$build/llama.cmake' ${CMAKE_ARGS:-}" \
    quietly "$venv/bin/pip" "$verb_of_pip" "${cache[@]}" --verbose --disable-pip-version-check --use-pep517 "$@"
}

# ---------------------------------------------------------------- wheels that are carried from board to board

native_wheels() { # where wheels compiled for this very processor are: their names do not tell
  echo "$wheelhouse/native-$(uname -m)-debian$(os_release VERSION_ID)-$(processor)"
}

has_wheel() { # NAME: whether the wheelhouse holds a wheel of it that this Python takes
  local wheels=$wheelhouse python
  if [[ $1 == llama_cpp_python ]]; then wheels+=" $(native_wheels)"; fi
  python=cp$(python_version | tr -d .)
  # shellcheck disable=SC2086 # two directories
  find $wheels -maxdepth 1 -name "$1-*.whl" 2>/dev/null | grep -E -- "-($python|py3|cp3[0-9]+-abi3)-.*_$(uname -m)\.whl$" >/dev/null
}

needs_compiler() { # whether anything has to be compiled here
  local name names=(systemd_python)
  if [[ -z $wheelhouse ]]; then return 0; fi
  if [[ $(os_release VERSION_ID) != 12 ]]; then names+=(lgpio); fi
  if ! $small; then names+=(llama_cpp_python); fi
  for name in "${names[@]}"; do
    has_wheel "$name" || return 0
  done
  return 1
}

install_from_wheelhouse() { # EXTRAS: from there alone; what it lacks is fetched or compiled into it first
  local ours=()
  find_native "$1"
  if run_pip install --no-index --find-links "$wheelhouse" "${ours[@]}" --editable "${root}[$1]"; then return 0; fi
  if $offline; then return 1; fi
  fill_wheelhouse "$1" || return 1
  find_native "$1"
  run_pip install --no-index --find-links "$wheelhouse" "${ours[@]}" --editable "${root}[$1]"
}

find_native() { # EXTRAS: sets `ours` to the engine that was compiled for this processor, where there is one
  local wheel
  # Its path is named: one of the same version that was compiled for another processor may lie beside it.
  wheel=$(find "$(native_wheels)" -name 'llama_cpp_python-*.whl' 2>/dev/null | sort -V | tail -n 1)
  if [[ $1 == "${llm_extras[0]}" && -n $wheel ]]; then ours=("$wheel"); fi
}

fill_wheelhouse() { # EXTRAS: brings every wheel they need there, and what builds our own
  local native wheel before=$build/wheels requirement
  native=$(native_wheels)
  rm -rf "$before" && mkdir -p "$before" "$wheelhouse"
  requirement=$(/usr/bin/python3 -c 'import sys, tomllib; print(*tomllib.load(open(sys.argv[1], "rb"))["build-system"]["requires"], sep="\n")' "$root/pyproject.toml")
  # Beside it first: a wheel that is there is whole, and what is there already is not fetched again.
  # shellcheck disable=SC2086 # one requirement a word
  run_pip wheel --find-links "$wheelhouse" --wheel-dir "$before" $requirement "${ours[@]}" "${root}[$1]" || return 1
  rm -f "$before"/edge_agent-*.whl
  for wheel in "$before"/*.whl; do
    if [[ -f $wheelhouse/$(basename "$wheel") || -f $native/$(basename "$wheel") ]]; then
      continue
    elif [[ $wheel == */llama_cpp_python-* ]]; then
      mkdir -p "$native"
      keep_wheel "$wheel" "$native"
    else
      keep_wheel "$wheel" "$wheelhouse"
    fi
  done
  rm -rf "$before"
}

keep_wheel() { # WHEEL DIRECTORY: whole or not at all: the wheelhouse may be on a stick that is pulled out
  local part
  part=$2/.$(basename "$1").part
  cp "$1" "$part"
  if ((EUID == 0)); then chown --reference="$wheelhouse" "$2" "$part"; fi
  mv -f "$part" "$2/$(basename "$1")"
}
