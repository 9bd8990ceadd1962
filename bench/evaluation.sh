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
# shellcheck source=../bin/lib/all.bash
source "${0%/*}/../bin/lib/all.bash"
# shellcheck source=lib.bash
source "${0%/*}/lib.bash"

main() {
  begin_script "$0" "$@"
  choose_device
  resolve_plan
  own_children
  local size=0 each limit=${EVAL_LIMIT:-300} work round
  for each in "${SIZES[@]}"; do ((each <= size)) || size=$each; done
  work=$(mktemp -d)
  new_api_key
  start_server "$size" "$work/server.log"
  URL=http://127.0.0.1:$PORT/v1
  await_answer "$size" "$work/ready.json"
  for round in 1 2; do
    python bench/seed_loop.py --base-url "$URL" --data "$DATA_DIR/llm_test.json" --limit "$limit" --out "$work/seed.$round.json"
    our_evaluation "$size" "$work/ours.$round" "$limit"
  done
  python bench/ratio.py "$work" "$(run_name "$size")"
  rm -rf -- "$work"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
