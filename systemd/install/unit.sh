# The systemd unit: put in place, started, waited for; where a new release does not come up, the one before takes over.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

readonly unit=edge-agent.service
readonly command_link=$dest/usr/local/bin/edge-agent command_target=/opt/edge-agent/current/.venv/bin/edge-agent
readonly enabling_link=$units/multi-user.target.wants/$unit
start_within_s=960 # the agent itself asks systemd for up to 15 minutes, on a slow card
settle_s=15 # a release that ends sooner than this after it was ready has not come up
hear_within_s=15 # more: the microphone of the release before may take a while to be free

install_file() { # FROM TO: status 0 where something changed
  if cmp -s "$1" "$2"; then return 1; fi
  mkdir -p "$(dirname "$2")"
  cp "$1" "$2.new"
  chmod 0644 "$2.new"
  sync "$2.new"
  mv "$2.new" "$2"
}

board_limits() { # the drop-in: shares of the memory that there is, and groups that exist
  local groups
  groups=$(groups_here | tr '\n' ' ')
  echo "# Written by install.sh: what depends on this machine."
  echo '[Service]'
  # Of the whole memory: the rest is the system's. A larger agent is slowed down first, then ended, and not its neighbours.
  echo 'MemoryHigh=80%'
  echo 'MemoryMax=90%'
  if [[ -n $groups ]]; then echo "SupplementaryGroups=${groups% }"; fi
}

place_unit() { # RELEASE: sets `unit_changed`
  local limits=$opt/.board.conf was_stale=false
  if [[ -e $opt/.stale ]]; then was_stale=true; fi
  unit_changed=false
  touch "$opt/.stale" # until the service has come up with what is written here
  if install_file "$releases/$1/systemd/$unit" "$units/$unit"; then unit_changed=true; fi
  board_limits >"$limits"
  if install_file "$limits" "$units/$unit.d/10-board.conf"; then unit_changed=true; fi
  rm -f "$limits"
  if ! $was_stale && ! $unit_changed && ! $must_restart; then rm -f "$opt/.stale"; fi
  if [[ $(readlink "$command_link" 2>/dev/null) != "$command_target" ]]; then
    mkdir -p "$(dirname "$command_link")"
    ln -sfn "$command_target" "$command_link.new"
    mv -T "$command_link.new" "$command_link"
  fi
}

enable_unit() { # by hand where no systemd runs: an image that is being made
  if $starts; then
    systemctl daemon-reload
    quietly systemctl enable "$unit" || fail_with_log 'systemd could not enable the service.' "See systemctl status $unit."
  elif [[ ! -L $enabling_link ]]; then
    mkdir -p "$(dirname "$enabling_link")"
    ln -s "/etc/systemd/system/$unit" "$enabling_link"
  fi
}

unit_property() { systemctl show "$unit" --property="$1" --value 2>/dev/null || true; }

started_last() { cat "$opt/.started" 2>/dev/null || true; } # the release with which the service came up last

is_running_current() { # whether the service that runs is the release in use, as it is on the disk
  [[ ! -e $opt/.stale && $(started_last) == "$(release_at current)" && $(unit_property ActiveState) == active ]]
}

hears() { # STATUS: the line that the agent gives systemd
  local trouble='(^|; )(deaf|not alive): '
  [[ ! $1 =~ $trouble ]]
}

start_unit() { # MUST_HEAR: status 1, and `reason` set, where it does not come up
  systemctl reset-failed "$unit" >>"$log" 2>&1 || true
  if ! systemctl restart --no-block "$unit" >>"$log" 2>&1; then
    reason='systemd refused to start it'
    return 1
  fi
  wait_active "$1" || return 1
  release_at current >"$opt/.started"
  rm -f "$opt/.stale"
}

wait_active() { # MUST_HEAR: status 1, and `reason` set, where it has not come up in time, does not stay up, or is deaf
  local until=$((EPOCHSECONDS + start_within_s)) up_since='' active sub status latest='' restarts allowed=2
  while ((EPOCHSECONDS < until)); do
    active=$(unit_property ActiveState) sub=$(unit_property SubState)
    status=$(unit_property StatusText) restarts=$(unit_property NRestarts)
    if [[ -n $status && $status != "$latest" ]]; then
      say "$status"
      latest=$status
    fi
    if [[ $active == failed ]]; then
      reason="it ended at once ($(unit_property Result), status $(unit_property ExecMainStatus))"
      return 1
    elif ((${restarts:-0} >= allowed)); then
      reason="it did not stay up: ended and started again, ${restarts} times so far (status $(unit_property ExecMainStatus))"
      return 1
    elif [[ $active == active && $sub == running ]]; then
      if [[ -z $up_since ]]; then
        up_since=$EPOCHSECONDS allowed=$((${restarts:-0} + 1)) # a start may fail once; what ends after it was ready may not
      fi
      if ((EPOCHSECONDS - up_since >= settle_s)) && { ! $1 || hears "$status"; }; then
        return 0
      elif ((EPOCHSECONDS - up_since >= settle_s + hear_within_s)); then
        reason="it does not hear, and what ran before did ($status)"
        return 1
      fi
    else
      up_since=''
    fi
    sleep 1
  done
  reason="it was not ready within $(duration $start_within_s) (${active:-unknown}, $sub)"
  return 1
}

show_journal() {
  printf '\n%s  the last lines of journalctl --unit edge-agent:%s\n' "$dim" "$plain" >&2
  { journalctl --unit "$unit" --lines 15 --no-pager --output cat 2>/dev/null || true; } | cut -c -200 | sed 's/^/  | /' >&2
}

plan_activation() { # RELEASE: what `activate` would do
  local now from=$releases/$1 restarts=$must_restart
  now=$(release_at current)
  if [[ ! -d $from ]]; then from=$checkout; fi
  if [[ $now != "$1" ]]; then would "switch from ${now:-nothing} to $1"; fi
  if ! cmp -s "$from/systemd/$unit" "$units/$unit"; then would "write $units/$unit"; fi
  if ! board_limits | cmp -s - "$units/$unit.d/10-board.conf"; then would "write $units/$unit.d/10-board.conf"; fi
  if ((planned)) || ! is_running_current; then restarts=true; fi # what follows takes effect without
  if [[ $(readlink "$command_link" 2>/dev/null) != "$command_target" ]]; then would "link $command_link to $command_target"; fi
  if [[ ! -L $enabling_link ]]; then would "enable $unit, which then starts with the system"; fi
  if ! $starts; then
    finish 'enabled; it starts with the system'
  elif $restarts; then
    would "$(if [[ $(unit_property ActiveState) == active ]]; then echo restart; else echo start; fi) $unit, and wait until it is ready"
  else
    finish 'runs already'
  fi
}

activate() { # RELEASE: switch, start, wait; where it does not come up the one that ran before is started again
  local before earlier why status must_hear=false
  if $dry_run; then
    plan_activation "$1"
    return 0
  fi
  before=$(release_at current) earlier=$(release_at previous)
  # A run that was cut after its switch: what ran before it is still what there is to go back to.
  if [[ $before == "$1" && -n $(started_last) ]]; then before=$(started_last); fi
  # Where the sound was set up anew in this run, hearing may have to wait for the desktop's next login.
  if $starts && ! $must_restart && [[ -n $before && $before != "$1" && $(unit_property ActiveState) == active ]]; then
    status=$(unit_property StatusText)
    if [[ -n $status ]] && hears "$status"; then must_hear=true; fi
  fi
  switch_to "$1"
  place_unit "$1"
  enable_unit
  if ! $starts; then
    finish 'enabled; it starts with the system'
    return 0
  fi
  if ! $unit_changed && ! $must_restart && is_running_current; then
    finish 'runs already'
    return 0
  fi
  if start_unit "$must_hear"; then
    finish "runs$(if [[ -n $before && $before != "$1" ]]; then echo ", $before before"; fi)"
    return 0
  fi
  show_journal
  if [[ -z $before || $before == "$1" ]] || ! is_proved "$before"; then
    fail "The service did not come up: $reason." "sudo edge-agent doctor; journalctl --unit edge-agent. There is no other release to go back to."
  fi
  why=$reason
  say "${red}✗${plain} release $1 did not come up: $why; going back to $before"
  point current "$before"
  if [[ -n $earlier ]]; then point previous "$earlier"; else rm -f "$opt/previous"; fi
  place_unit "$before"
  systemctl daemon-reload
  start_unit false || fail "Neither release comes up; $before is in place: $reason." 'journalctl --unit edge-agent'
  fail "Release $1 did not come up: $why." "$before runs again. journalctl --unit edge-agent says more."
}

show_health() {
  local line
  if ! $starts; then return 0; fi
  printf '\n%sHealth%s\n' "$bold" "$plain"
  say "service   $(unit_property ActiveState), $(unit_property SubState), since $(unit_property ActiveEnterTimestamp)"
  line=$(unit_property StatusText)
  if [[ -n $line ]]; then say "status    $line"; fi
  timeout 10 "$opt/current/.venv/bin/edge-agent" status 2>>"$log" | sed -n '1,12s/^/      /p' || true
  timeout 60 "$opt/current/.venv/bin/edge-agent" doctor --no-sound --json 2>>"$log" | show_complaints || true
}

show_complaints() { # of the JSON that `doctor --json` prints
  /usr/bin/python3 -c 'import json, sys
found = json.load(sys.stdin)
wrong = [result for result in found if result["verdict"] != "ok"]
for result in wrong:
    print("     ", {"fault": "✗", "warning": "!"}.get(result["verdict"], "?"), result["name"].ljust(17), result["message"])
print(f"      doctor    {len(found) - len(wrong)} of {len(found)} checks are ok (without sound: sudo edge-agent doctor)")' 2>>"$log"
}
