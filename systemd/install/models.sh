# Models for the service: from the checkout where it has some, then what this board is recommended, where there is a network.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

fetch_models() { # RELEASE: never fails the installation, for everything works without them
  local venv=$releases/$1/.venv
  begin 'Models' "$state/models"
  copy_models
  if ! $with_models || $offline || $small; then
    finish "none fetched ($(if $small; then echo '--small needs none'; elif $offline; then echo '--offline'; else echo '--no-models'; fi))"
    return
  fi
  if would 'fetch the models that are recommended for this board'; then return; fi
  if ! as_agent "$venv/bin/edge-agent" models --help >>"$log" 2>&1; then
    finish 'this release fetches none'
    return
  fi
  if pull_models "$venv/bin/edge-agent"; then
    finish 'there'
  else
    say "${red}✗${plain} not all fetched$(if ! $live; then echo ": $(tail -n 1 "$log" | cut -c -160)"; fi)"
    say 'It works without them; later: sudo edge-agent models pull --recommended'
  fi
}

pull_models() { # COMMAND: as the service's user, whose they are; a person sees its own progress
  # This shell's directories are root's; its proxies count.
  local pull=(env -u TMPDIR -u XDG_CACHE_HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u XDG_STATE_HOME "HOME=$state" "$1" models pull --recommended)
  if $live; then
    as_user "$account" "${pull[@]}"
  else
    quietly as_user "$account" "${pull[@]}"
  fi
}
