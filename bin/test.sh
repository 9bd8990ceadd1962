#!/usr/bin/env bash
# Summary: Run every test.
#
# Usage: bin/test.sh [--fast] [FILE]...
#
#   --fast    leave out what trains and serves real models: the end-to-end test, the stubs' contract, the real kills
#   FILE      only these: tests/*.bats, tests/test_*.py
#
# The scripts are tested with bats and a stub in place of llamafactory-cli, py/ with pytest. The first run installs
# what the tests need. Nothing is written but to temporary folders.
#
# Exit status: 0 all passed, 1 some failed, 2 something for you to mend.

# In bash, whatever shell was asked; under its own name, whatever link was; without the caller's functions and options.
case ${BASH_VERSION:+$-} in *p*) ;; *)
  POSIXLY_CORRECT=1 # no function comes before unset and exec then
  unset -f readlink
  here=$(readlink -f -- "$0" 2>/dev/null) || here=$0
  exec "${BASH:-bash}" -p -- "$here" "$@"
  ;;
esac
set -Eeuo pipefail
# shellcheck source=lib/all.bash
source "${0%/*}/lib/all.bash"

# run_job pytest|FILE [ARGUMENT]...: pytest with the arguments, or a file of bats.
run_job() {
  case $1 in
  # A test that hangs is ended, not one that other work on the machine slows down.
  pytest) python -m pytest -q -p no:cacheprovider --timeout 600 "${@:2}" ;;
  *) if [[ ${2-} == -m ]]; then bats --timing --filter-tags '!end_to_end' "$1"; else bats --timing "$1"; fi ;;
  esac
}

# run_jobs JOBS ARGUMENT...: a job for each core at once, numbered TEST_SLOT; what each says is shown when it has ended.
run_jobs() {
  export -f run_job
  xargs -d '\n' -P "$(nproc)" --process-slot-var=TEST_SLOT -I{} bash -c '
    status=0; said=$(run_job "$@" 2>&1) || status=$?
    printf "%s\n%s\n" "$1" "$said"
    exit "$status"' _ {} "${@:2}" <<<"$1"
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
    [[ $argument == -* || -e ${argument%%::*} ]] || die "$argument: no such file"
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
  # What the files of the fault matrix have in common.
  FAULTS_FOLDER=$(mktemp -d)
  export FAULTS_FOLDER
  trap 'rm -rf -- "$FAULTS_FOLDER"' EXIT
  # The longest first.
  local jobs=()
  ((${#pytest[@]} == 0)) || jobs+=(pytest)
  ((${#bats[@]} == 0)) || mapfile -t -O "${#jobs[@]}" jobs < <(ls -S -- "${bats[@]}")
  if ((${#jobs[@]} == 1)); then
    run_job "${jobs[0]}" "${marks[@]}" "${pytest[@]}" || failed=1
  else
    run_jobs "$(printf '%s\n' "${jobs[@]}")" "${marks[@]}" "${pytest[@]}" || failed=1
  fi
  exit "$failed"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  # shellcheck disable=SC2317 # main always exits itself
  exit
}
