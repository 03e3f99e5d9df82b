#!/usr/bin/env bash
# Compiles llama-cpp-python on a PC for 64-bit Raspberry Pis: see `tests/system/arm64_wheel.sh --help` and docs/arm64.md.
set -euo pipefail
export LC_ALL=C.UTF-8

usage() {
  cat <<'END'
Usage: tests/system/arm64_wheel.sh [--march ARCH] [--version VERSION] DIR

Cross-compiles llama-cpp-python and leaves the wheel in DIR, a wheelhouse for `install.sh --wheelhouse DIR`.

  --march ARCH       what the wheel is compiled for; default: armv8-a, which every 64-bit Raspberry Pi runs.
                     armv8.2-a+dotprod+fp16 is for the Raspberry Pi 5 (Cortex-A76) and its dot-product instructions; on
                     older boards that wheel ends the process with an illegal instruction.
  --version VERSION  of llama-cpp-python; default: the newest that pyproject.toml allows

Needs: apt install g++-aarch64-linux-gnu cmake ninja-build python3-venv
The C library it is compiled against is this machine's: a wheel from Debian 12 also runs on Debian 13, not the other way.
CMAKE_BUILD_PARALLEL_LEVEL=N sets how many files are compiled at once; the default is the number of cores.
Exit status: 0 done, 1 failed, 2 wrong usage.
END
}

usage_error() {
  printf 'arm64_wheel.sh: %s (see arm64_wheel.sh --help)\n' "$1" >&2
  exit 2
}

fail() {
  printf 'arm64_wheel.sh: %s\n' "$1" >&2
  exit 1
}

main() { # in one piece: an edit of this file does not reach a run that is under way
  march=armv8-a version='' directory=''
  while (($#)); do
    case $1 in
      --help) usage && exit 0 ;;
      --march | --version)
        if (($# < 2)); then usage_error "$1 takes a value"; fi
        printf -v "${1#--}" %s "$2"
        shift
        ;;
      -*) usage_error "$1 is no option" ;;
      *)
        if [[ -n $directory ]]; then usage_error "one DIR, not also $1"; fi
        directory=$1
        ;;
    esac
    shift
  done
  if [[ -z $directory ]]; then usage_error 'DIR is missing'; fi

  checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
  for tool in aarch64-linux-gnu-g++ cmake ninja python3; do
    command -v "$tool" >/dev/null || fail "$tool is missing; apt install g++-aarch64-linux-gnu cmake ninja-build python3-venv"
  done
  aarch64-linux-gnu-g++ "-march=$march" -xc++ -c -o /dev/null - </dev/null || fail "the compiler knows no -march=$march"

  mkdir -p "$directory"
  directory=$(cd "$directory" && pwd -P)
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/arm64-wheel-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  requirement=llama-cpp-python==$version
  if [[ -z $version ]]; then
    requirement=$(grep -oE '"llama-cpp-python[^"]*"' "$checkout/pyproject.toml" | tr -d '"')
  fi

  cat >"$work/arm64.cmake" <<'END'
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
END
  # As install.sh does: Python needs neither llama.cpp's image models nor the library of its command line tools.
  echo 'set(LLAMA_BUILD_COMMON OFF)' >"$work/less.cmake"

  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check wheel
  # Without pip's cache: it would offer this wheel to this machine's own Python, under this machine's architecture.
  CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)} TMPDIR=$work \
    CMAKE_ARGS="-DCMAKE_TOOLCHAIN_FILE=$work/arm64.cmake -DCMAKE_PROJECT_llama_cpp_INCLUDE=$work/less.cmake -DLLAVA_BUILD=OFF -DGGML_NATIVE=OFF -DGGML_CPU_ARM_ARCH=$march" \
    "$work/venv/bin/pip" wheel --verbose --disable-pip-version-check --no-cache-dir --no-deps \
    --no-binary llama-cpp-python --wheel-dir "$work/built" "$requirement"

  wheel=$(find "$work/built" -name 'llama_cpp_python-*.whl')
  mkdir "$work/unpacked"
  "$work/venv/bin/python" -m zipfile -e "$wheel" "$work/unpacked"
  mapfile -t libraries < <(find "$work/unpacked" -name '*.so' -type f) # libllama.so is in the wheel twice
  if [[ " ${libraries[*]##*/} " != *' libllama.so '* ]]; then fail "libllama.so is not in $wheel"; fi
  for library in "${libraries[@]}"; do
    machine=$(od -An -tu2 -j18 -N2 "$library" | tr -d ' ')
    if [[ $machine != 183 ]]; then fail "${library##*/} is for ELF machine $machine and not for AArch64 (183)"; fi
  done
  tagged=$("$work/venv/bin/python" -m wheel tags --platform-tag linux_aarch64 "$wheel")
  # Whole or not at all: the wheelhouse may be on a stick that is pulled out.
  cp "$work/built/$tagged" "$directory/.$tagged.part"
  mv -f "$directory/.$tagged.part" "$directory/$tagged"
  printf '%s, compiled for %s\n' "$directory/$tagged" "$march"
}

main "$@"
exit
