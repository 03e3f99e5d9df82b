# What a person sees, what the log gets, and what to do when something fails.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

if [[ -t 1 ]]; then live=true; else live=false; fi
if $live && [[ -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' green='' red='' plain=''
fi

begin() { # TITLE WHY
  step=$((step + 1)) step_began=$EPOCHSECONDS planned=0
  printf '\n%s[%d/%d] %s%s\n      %s%s%s\n' "$bold" "$step" "$steps" "$1" "$plain" "$dim" "$2" "$plain"
  printf '\n===== [%d/%d] %s\n' "$step" "$steps" "$1" >>"$log"
}

say() { printf '      %s\n' "$1"; }

finish() { # WHAT: closes a step; in a dry run only one in which nothing would be done, for the rest is not so yet
  if ((planned)); then return 0; fi
  printf '      %s✓%s %s %s(%s)%s\n' "$green" "$plain" "$1" "$dim" "$(duration $((EPOCHSECONDS - step_began)))" "$plain"
}

duration() { # SECONDS
  if (($1 >= 60)); then printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi
}

fail() { # WHAT [REMEDY]: the last line anyone reads, so it says what to do
  printf '\n%s✗ %s%s\n' "$red" "$1" "$plain" >&2
  if [[ -n ${2:-} ]]; then printf '  %s\n' "$2" >&2; fi
  told=true
  exit 1
}

fail_with_log() { # WHAT REMEDY
  printf '\n%s  the last lines of %s:%s\n' "$dim" "$log" "$plain" >&2
  tail -n 12 "$log" | cut -c -200 | sed 's/^/  | /' >&2
  fail "$1" "$2"
}

would() { # WHAT: true, and told, in a dry run: whoever asks then does nothing
  if ! $dry_run; then return 1; fi
  planned=$((planned + 1))
  say "would $1"
}

see_log() { if ! $dry_run; then echo " Log: $log"; fi; } # the end of a message; a dry run writes none

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
    *'No matching distribution found for '*)
      if $offline || [[ -n $wheelhouse ]]; then
        echo "No wheel of $(tail -n 80 "$log" | sed -n 's/.*No matching distribution found for \([^ ;]*\).*/\1/p' | tail -n 1) here: fill the wheelhouse on a machine with a network (docs/install.md, Offline)."
      else
        echo 'The log says which package has no version for this Python.'
      fi
      ;;
    *'Could not get lock'*) echo 'Another program is installing Debian packages: wait for it and run this again.' ;;
    *'Killed signal'* | *'out of memory'*) echo 'The compiler ran out of memory: close programs or add swap, then: '"$(if [[ $verb != t* ]]; then echo 'sudo '; fi)CMAKE_BUILD_PARALLEL_LEVEL=1 ./install.sh $verb" ;;
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
  elif [[ $1 =~ ^\ *(Processing|Collecting)\ ([^\ ]+) ]]; then
    local package=${BASH_REMATCH[2]##*/}
    text="looking at ${package%%[-<>=!~[]*}"
  elif [[ $1 =~ ^\ *Building\ .*for\ ([^\ ]+) ]]; then
    text="building ${BASH_REMATCH[1]}"
  elif [[ $1 == 'Installing collected packages'* ]]; then
    text='copying the packages into .venv'
    touch "$venv/.unfinished"
  fi
}

