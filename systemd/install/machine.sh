# What this machine is: memory, cores, Debian packages.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

mib() { awk -v keys="$1" '{ sub(":", "", $1) } index(" " keys " ", " " $1 " ") { kib += $2 } END { print int(kib / 1024) }' /proc/meminfo; }

os_release() { sed -n "s/^$1=//p" /etc/os-release | tr -d '"'; }

jobs_for() { # MEMORY_MIB CORES: how many files to compile at once
  local jobs=$(($1 / mib_per_job))
  if ((jobs > $2)); then jobs=$2; fi
  echo $((jobs < 1 ? 1 : jobs))
}

free_mib() { # PATH: of the file system that it is on, or would be on
  local path=$1
  while [[ ! -e $path ]]; do path=$(dirname "$path"); done
  echo $(($(df -Pk "$path" | awk 'NR == 2 { print $4 }') / 1024))
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
  disk=$(free_mib "$root")
  jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(jobs_for "$memory" "$(nproc)")}
  say "$(os_release PRETTY_NAME), $architecture, $(nproc) cores, $memory MiB memory to use, $disk MiB disk free"
  if [[ -f /proc/device-tree/model ]]; then say "$(tr -d '\0' </proc/device-tree/model)"; fi
  needed=500
  if [[ ! -d $venv ]]; then
    needed=2500
    if $small || ! $builds; then needed=1200; fi
  fi
  ((disk >= needed)) || fail "This needs about $needed MiB of free disk; $root has $disk MiB." 'Free some space, or use a larger card.'
  if ! $small && $builds && ((memory < mib_per_job)); then
    say "Under 1 GiB of memory: compiling the language model engine may take hours; --small leaves it out."
  fi
  finish 'good enough'
}

debian_packages() { # one "name  why" a line
  cat <<'END'
python3-venv    the virtual environment all Python packages go into
libportaudio2   microphone and speaker (sounddevice)
flite           speaks English with no model to download
espeak-ng       speaks most other languages with no model to download
END
  if $builds; then
    cat <<'END'
libpython3-dev  Python's headers: systemd-python is compiled here
gcc             compiles systemd-python
pkg-config      finds libsystemd for it
libsystemd-dev  readiness, watchdog and journal of systemd
END
  fi
  # lgpio has a wheel for Debian 12's Python 3.11, none for Debian 13's 3.13.
  if $builds && [[ $(os_release VERSION_ID) != 12 ]]; then
    cat <<'END'
swig            lgpio (GPIO) has no wheel for this Python and is compiled here
END
  fi
  if ! $small && ! $builds; then
    cat <<'END'
libgomp1        threads of the language model engine, which comes compiled
END
  elif ! $small; then
    cat <<'END'
g++             compiles the language model engine, llama.cpp
cmake           configures that build
ninja-build     runs that build
END
  fi
  if [[ -n $desktop_user ]]; then
    cat <<'END'
libasound2-plugins  the way from ALSA to the desktop's sound server
pulseaudio-utils    asks that server, for edge-agent doctor
END
  fi
  if [[ $verb == test ]]; then
    cat <<'END'
pulseaudio          null sinks that stand in for microphone and speaker
pulseaudio-utils    sets them up (pactl)
libasound2-plugins  lets PortAudio open them
mosquitto           the MQTT broker that tests publish to
shellcheck          reads the shell scripts
systemd             judges the service's unit (systemd-analyze)
debootstrap         a fresh Debian for the system tests, which run when asked for
systemd-container   boots it
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
  if $offline; then
    fail "${#names[@]} Debian packages are missing, and --offline forbids to fetch them." "Bring them here, then: apt-get install --no-install-recommends ${names[*]}"
  fi
  if would "install ${#names[@]} Debian packages"; then return; fi
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

