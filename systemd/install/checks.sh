# `test`: every check and test.
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by install.sh: names are shared with its other parts

run_checks() {
  local failed=()
  begin 'Checks and tests' 'ruff, mypy, the layers of imports, then pytest'
  cd "$root" || return
  check 'ruff check' "$venv/bin/ruff" check
  check 'ruff format' "$venv/bin/ruff" format --check
  check mypy "$venv/bin/mypy"
  check 'import layers' "$venv/bin/lint-imports"
  check pytest "$venv/bin/pytest" -n auto --durations=10 "${pytest_arguments[@]}"
  if ((${#failed[@]})); then
    fail "$(duration "$SECONDS"): $(printf '%s, ' "${failed[@]}" | sed 's/, $//') failed."
  fi
  printf '\n%s✓ all checks and tests passed%s (%s with setting up)\n' "$green" "$plain" "$(duration "$SECONDS")"
}

check() { # NAME COMMAND...: collects the failed ones
  local name=$1
  shift
  printf '\n%s── %s%s\n' "$bold" "$name" "$plain"
  "$@" || failed+=("$name")
}

