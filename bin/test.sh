#!/usr/bin/env bash
# Summary: Run every test.
#
# Usage: bin/test.sh [--fast] [FILE]...
#
#   --fast    leave out the end-to-end test, which trains and serves real models (3 minutes)
#   FILE      only these: tests/*.bats, tests/test_*.py
#
# The scripts are tested with bats and a stub in place of llamafactory-cli, py/ with pytest. The first run installs
# what the tests need. Nothing is written but to temporary folders.
#
# Exit status: 0 all passed, 1 some failed, 2 something for you to mend.

set -Eeuo pipefail
# shellcheck source=lib/all.bash
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.bash"

# run_bats FILE...: a file for each core at once, the largest first; what each says is shown when it has ended. The
# folder FAULTS_FOLDER holds what the files of the fault matrix have in common.
run_bats() {
  FAULTS_FOLDER=$(mktemp -d)
  export FAULTS_FOLDER
  trap 'rm -rf -- "$FAULTS_FOLDER"' EXIT
  # shellcheck disable=SC2016 # expanded there
  ls -S -- "$@" | tr '\n' '\0' | xargs -0 -P "$(nproc)" -I{} bash -c '
    status=0; said=$(bats --timing "$1" 2>&1) || status=$?
    printf "%s\n%s\n" "$1" "$said"
    exit "$status"' _ {}
}

main() {
  local bats=() pytest=() marks=() argument failed=0
  for argument; do
    case $argument in
    -h | --help)
      show_help "$0"
      exit 0
      ;;
    --fast) marks=(-m 'not end_to_end') ;;
    *.bats) bats+=("$argument") ;;
    *.py | *.py::*) pytest+=("$argument") ;;
    *) die "unknown argument '$argument'; see bin/test.sh --help" ;;
    esac
  done
  cd -- "$ROOT"
  if ((${#bats[@]} + ${#pytest[@]} == 0)); then
    bats=(tests/*.bats)
    pytest=(tests)
  fi
  use_environment dev
  # The tests' own settings, not those of whoever runs them.
  local name
  for name in "${!SETTING_TYPE[@]}"; do unset -v "$name"; done
  ((${#bats[@]} == 0)) || run_bats "${bats[@]}" || failed=1
  ((${#pytest[@]} == 0)) || python -m pytest -q -p no:cacheprovider "${marks[@]}" "${pytest[@]}" || failed=1
  exit "$failed"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
