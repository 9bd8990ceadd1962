#!/usr/bin/env bash
# Summary: Items per second of our evaluation against the original's loop, on the same server in the same run.
#
# Usage: bench/evaluation.sh [--SETTING VALUE]...
#
# Serves the largest of SIZES (it must be trained), asks the first EVAL_LIMIT (300) test items with the original's loop, one
# request at a time, and with ours, CONCURRENCY at a time, twice each in turn, and prints the ratio of the medians'
# rates and whether the answers are the same.

# In bash, whatever shell was asked; under its own name, whatever link was; without the caller's functions and options.
case ${BASH_VERSION:+$-} in *p*) ;; *)
  POSIXLY_CORRECT=1 # no function comes before unset and exec then
  unset -f readlink
  here=$(readlink -f -- "$0" 2>/dev/null) || here=$0
  exec "${BASH:-bash}" -p -- "$here" "$@"
  ;;
esac
set -Eeuo pipefail
# shellcheck source=../bin/eval.sh
source "${0%/*}/../bin/eval.sh" # the servers' commands
# shellcheck source=lib.bash
source "${0%/*}/lib.bash"

# asking WORK: while the server runs.
asking() {
  local round limit=${EVAL_LIMIT:-300}
  for round in 1 2; do
    python bench/seed_loop.py --base-url "$URL" --data "$DATA_DIR/llm_test.json" --limit "$limit" --out "$1/seed.$round.json"
    our_evaluation "${RUNS[0]}" "$1/ours.$round" "$limit"
  done
  python bench/ratio.py "$1" "${RUNS[0]}"
}

main() {
  begin_script "$0" "$@"
  use_hardware
  own_children
  list_runs trainings 2 # the largest first
  if [[ -n ${URL-} ]]; then
    asking "$BENCH_WORK"
    return
  fi
  export BENCH_WORK
  BENCH_WORK=$(mktemp -d)
  api_command "${RUNS[0]}"
  run_child "the bench" python bench/serve.py "${RUNS[0]}" "$BENCH_WORK/server.log" -- "${SERVER_COMMAND[@]}" -- \
    "$BASH" -p bench/evaluation.sh
  rm -rf -- "$BENCH_WORK"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
