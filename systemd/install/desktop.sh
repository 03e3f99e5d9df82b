# `--desktop-audio`: the service speaks and hears through the sound server of a desktop's user, who owns the sound card.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts
#
# That server opens a second socket, in a directory which only that user and the service's group may enter. PipeWire's
# own socket permissions are open to all (0777, pipewire-pulse's server.c), so the directory is the lock; PulseAudio
# checks the group itself (auth-group). Neither then asks for the user's cookie.

readonly sound_directory=/run/edge-agent-audio
readonly tmpfiles=$dest/etc/tmpfiles.d/edge-agent-audio.conf
readonly pulse_snippet=$dest/etc/pulse/default.pa.d/edge-agent.pa
readonly desktop_drop_in=$units/edge-agent.service.d/20-desktop-audio.conf
readonly asound=$state/.asoundrc

pipewire_snippet() { # USER
  echo "$dest$(getent passwd "$1" | cut -d: -f6)/.config/pipewire/pipewire-pulse.conf.d/edge-agent.conf"
}

desktop_user_now() { # whose sound server it is at present; nothing where it is none
  sed -n "s|^d $sound_directory [0-9]* \([^ ]*\) .*|\1|p" "$tmpfiles" 2>/dev/null || true
}

write_if_changed() { # FILE [USER]: as that user, else as root; the content comes from standard input; sets `must_restart`
  local content as=()
  content=$(cat)
  if [[ -n ${2:-} ]]; then as=(as_user "$2"); fi
  if [[ -f $1 && $("${as[@]}" cat "$1" 2>/dev/null) == "$content" ]]; then return 0; fi
  if would "write $1"; then
    must_restart=true
    return 0
  fi
  # shellcheck disable=SC2016 # for the inner shell to expand
  "${as[@]}" /bin/sh -c 'umask 022 && mkdir -p "${1%/*}" && rm -f "$1.new" && cat >"$1.new" && chmod 0644 "$1.new" && mv -T "$1.new" "$1"' \
    sh "$1" <<<"$content" 2>>"$log" || fail "${2:-root} could not write $1." "Log: $log"
  must_restart=true
  say "$1"
}

set_up_desktop_audio() { # USER
  local snippet before
  begin "Sound of $1's desktop" 'a socket of its own on the sound server, for the service alone'
  before=$(desktop_user_now)
  if [[ -n $before && $before != "$1" ]]; then remove_desktop_audio; fi
  write_if_changed "$tmpfiles" <<<"d $sound_directory 0750 $1 $account -"
  if $starts && ! $dry_run; then systemd-tmpfiles --create "$tmpfiles" >>"$log" 2>&1 || say "$sound_directory comes with the next boot"; fi
  snippet=$(pipewire_snippet "$1")
  # The list replaces the default one, so the user's own socket is in it, too.
  write_if_changed "$snippet" "$1" <<END
# Written by install.sh --desktop-audio: a socket for edge-agent.service.
pulse.properties = {
    server.address = [ "unix:native" "unix:$sound_directory/pulse" ]
}
END
  write_if_changed "$pulse_snippet" <<END
# Written by install.sh --desktop-audio: a socket for edge-agent.service. Other users' servers can't open it, and go on.
.nofail
load-module module-native-protocol-unix auth-group=$account socket=$sound_directory/pulse
.fail
END
  write_if_changed "$asound" "$account" <<END
# Written by install.sh --desktop-audio: the default of ALSA is the desktop's sound server.
pcm.!default { type pulse server "unix:$sound_directory/pulse" hint { show on description "default" } }
ctl.!default { type pulse server "unix:$sound_directory/pulse" }
END
  write_if_changed "$desktop_drop_in" <<END
# Written by install.sh --desktop-audio for $1.
[Service]
Environment=PULSE_SERVER=unix:$sound_directory/pulse
END
  restart_sound_server "$1"
  finish "$1's sound server"
}

restart_sound_server() { # USER: it reads its files at its start
  local service
  if ! $starts || ! $must_restart || would "have $1's sound server read its files again"; then return 0; fi
  for service in pipewire-pulse pulseaudio; do
    if systemctl --user --machine="$1@" is-active --quiet "$service" 2>>"$log"; then
      systemctl --user --machine="$1@" restart "$service" >>"$log" 2>&1 && say "restarted $1's $service" && return 0
    fi
  done
  say "It takes effect when $1 logs in the next time."
}

remove_desktop_audio() {
  local user
  user=$(desktop_user_now)
  if [[ -z $user ]]; then return 0; fi
  if getent passwd "$user" >/dev/null; then remove_path "$(pipewire_snippet "$user")" "$user"; fi
  remove_path "$pulse_snippet"
  remove_path "$asound" "$account"
  remove_path "$desktop_drop_in"
  remove_path "$tmpfiles"
  remove_path "$dest$sound_directory"
  must_restart=true
  if $starts && ! $dry_run; then systemctl daemon-reload; fi
  restart_sound_server "$user"
}
