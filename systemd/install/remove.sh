# `uninstall`: takes away what `install` made; configuration, models and state stay unless --purge is given.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

remove_path() { # PATH [USER]: as that user, where any part of the path may be a link that the user made
  if [[ ! -e $1 && ! -L $1 ]]; then return 0; fi
  found=true
  if would "remove $1"; then return 0; fi
  if [[ -z ${2:-} ]]; then
    rm -rf "$1"
  elif ! as_user "$2" rm -rf "$1" 2>>"$log"; then
    say "$2 could not remove $1 (log: $log)"
    return 0
  fi
  say "removed $1"
}

finish_removal() { # closes a step of `uninstall`
  if $found; then
    anything=true
    finish 'gone'
  else
    finish 'nothing there'
  fi
  found=false
}

uninstall() {
  local path found=false anything=false # `found`: in this step
  begin 'Service' 'to be stopped, and taken out of systemd'
  if $starts && [[ -e $units/$unit ]] && ! would "stop and disable $unit"; then
    quietly systemctl disable --now "$unit" || say 'systemd could not stop it; going on.'
  fi
  remove_path "$units/multi-user.target.wants/$unit"
  remove_path "$units/$unit"
  remove_path "$units/$unit.d"
  remove_desktop_audio
  if $starts && ! $dry_run; then
    systemctl daemon-reload
    systemctl reset-failed "$unit" >>"$log" 2>&1 || true
  fi
  finish_removal
  begin 'Program' "$opt"
  if [[ -e $opt/.swap ]] && ! would "take $opt/.swap out of use and remove it"; then return_swap; fi
  if [[ $(readlink "$dest/usr/local/bin/edge-agent" 2>/dev/null) == /opt/edge-agent/* ]]; then
    remove_path "$dest/usr/local/bin/edge-agent"
  fi
  for path in current previous .started .stale .board.conf .current.new .previous.new build; do remove_path "$opt/$path"; done
  if [[ -d $releases ]] && ! $dry_run; then find "$releases" -mindepth 2 -maxdepth 2 -name .proved -delete; fi
  remove_path "$releases"
  # A checkout may lie there, too: only an empty directory goes.
  if [[ -d $opt ]]; then
    found=true
    would "remove $opt, if it is empty then" || rmdir "$opt" 2>/dev/null || say "$opt is not empty and stays"
  fi
  remove_path "$dest/var/cache/edge-agent"
  finish_removal
  if $purge; then purge_data; fi
  if ! $anything; then printf '\nNothing is installed here%s.\n' "$(if $purge; then echo ', and nothing of it is left'; fi)"; fi
  if ! $purge; then tell_what_stays; fi
}

purge_data() {
  begin 'Configuration, models, state, user' '--purge'
  remove_path "$dest/etc/edge-agent"
  remove_path "$state"
  if getent passwd "$account" >/dev/null; then
    found=true
    would "remove user $account" || userdel "$account" >>"$log" 2>&1 || say "user $account could not be removed (log: $log)"
  fi
  if getent group "$account" >/dev/null; then
    found=true
    would "remove group $account" || groupdel "$account" >>"$log" 2>&1 || true
  fi
  finish_removal
}

tell_what_stays() {
  local path
  if ! $anything && [[ ! -e $dest/etc/edge-agent && ! -e $state ]] && ! getent passwd "$account" >/dev/null; then return; fi
  printf '\nWhat stays (uninstall --purge removes it, too):\n'
  for path in "$dest/etc/edge-agent" "$state"; do
    if [[ -e $path ]]; then say "$path ($(du -sh "$path" 2>/dev/null | cut -f1))"; fi
  done
  if getent passwd "$account" >/dev/null; then say "user $account"; fi
  printf 'Debian packages stay in any case.\n'
}
