# What the service needs on its host, beside the release: a user, directories, a first configuration, limits.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

readonly account=edge-agent
readonly wanted_groups=(audio gpio spi i2c)

own() { # OWNER MODE PATH: a fake root in a test belongs to whoever runs the test
  if ((EUID == 0)); then chown "$1" "$3"; fi
  chmod "$2" "$3"
}

# Below the service's state, and in a desktop user's home, any name may be a link that its owner made, to /etc for one.
# Root changes nothing there: its owner does, who could have done the same without us.
as_user() { # USER COMMAND...
  if is_root; then runuser -u "$1" -- "${@:2}"; else "${@:2}"; fi
}

users_directory() { # USER MODE PATH: below a directory of that user's; a link, to a larger disk perhaps, is left as it is
  if [[ -L $3 || (-d $3 && $(stat -c '%U %a' "$3") == "$1 ${2#0}") ]]; then return 0; fi
  if would "make directory $3 ($1, $2)"; then return 0; fi
  as_user "$1" mkdir -p "$3" 2>>"$log" && as_user "$1" chmod "$2" "$3" 2>>"$log" ||
    say "${red}✗${plain} $3 does not belong to $1, who can't use it: sudo chown $1: $3"
}

directory() { # OWNER MODE PATH: only where root alone may make links; made where it is missing; owner and mode are mended in any case
  if [[ -d $3 && $(stat -c '%U:%G %a' "$3") == "$1 ${2#0}" ]]; then return 0; fi
  if would "make directory $3 ($1, $2)"; then return 0; fi
  mkdir -p "$3"
  own "$1" "$2" "$3"
}

groups_here() { # of those that the devices belong to, the ones that exist; one a line
  local group device
  for group in "${wanted_groups[@]}"; do
    if getent group "$group" >/dev/null; then echo "$group"; fi
  done
  # The firmware's mailbox, which tells of under-voltage and throttling, and cameras belong to the same group.
  for device in /dev/vcio /dev/vchiq; do
    if [[ -c $device ]]; then stat -c %G "$device"; fi
  done | { grep -vx root || true; } | sort -u
}

make_account() {
  local group missing=()
  begin 'User and directories' "$account runs the service and can do nothing else"
  if ! getent group "$account" >/dev/null; then
    if ! would "add group $account"; then groupadd --system "$account"; fi
  fi
  if ! getent passwd "$account" >/dev/null; then
    if ! would "add user $account"; then
      useradd --system --gid "$account" --home-dir /var/lib/edge-agent --no-create-home --shell /usr/sbin/nologin \
        --comment 'Voice agent' "$account"
      say "user $account"
    fi
  fi
  while read -r group; do
    if [[ " $(id -nG "$account" 2>/dev/null) " != *" $group "* ]]; then missing+=("$group"); fi
  done < <(groups_here)
  if ((${#missing[@]})) && ! would "add $account to $(IFS=,; echo "${missing[*]}")"; then
    usermod --append --groups "$(IFS=,; echo "${missing[*]}")" "$account"
    say "member of ${missing[*]}"
  fi
  directory root:root 0755 "$opt"
  directory root:root 0755 "$releases"
  directory "root:$account" 0750 "$dest/etc/edge-agent"
  directory root:root 0700 "$dest/etc/edge-agent/credentials"
  directory "$account:$account" 0750 "$state"
  users_directory "$account" 0755 "$state/models"
  directory "$account:$account" 0750 "$dest/var/cache/edge-agent"
  write_config
  finish 'as they should be'
}

write_config() { # once: what is there is the owner's
  local new=$config.new
  if [[ -e $config ]]; then
    say "$config is kept"
    return
  fi
  if would "write $config"; then return; fi
  cp "$checkout/systemd/install/config.toml" "$new"
  own "root:$account" 0640 "$new"
  sync "$new"
  mv -n "$new" "$config"
  rm -f "$new"
  say "$config: every key that one would change, as a comment; or: sudo edge-agent setup"
}

copy_models() { # what lies in the checkout's models/ and not yet in the service's
  local kind path target
  for kind in vosk piper llm wake; do
    for path in "$checkout/models/$kind"/*; do
      target=$state/models/$kind/$(basename "$path")
      if [[ ! -e $path || -e $target ]]; then continue; fi
      if would "copy $path to $target"; then continue; fi
      if copy_model "$path" "$target" 2>>"$log"; then
        say "copied $kind/$(basename "$path")"
      else
        say "${red}✗${plain} $kind/$(basename "$path") could not be copied to $target (log: $log)"
      fi
    done
  done
}

copy_model() { # FROM TO: root reads, for the checkout may be closed to others; the service's user writes
  local folder
  folder=$(dirname "$2")
  as_user "$account" mkdir -p "$folder" &&
    as_user "$account" rm -rf "$folder/.copying" &&
    tar --create --mode=u=rwX,go=rX --transform='flags=rh;s,^[^/]*,.copying,' --directory="$(dirname "$1")" -- "$(basename "$1")" |
    as_user "$account" tar --extract --no-same-owner --directory="$folder" &&
    as_user "$account" mv -T "$folder/.copying" "$2"
}
