#!/usr/bin/env bash
# Summary: Do both servers give the same answers? Every adapter, asked through each of them.
#
# Usage: bench/agreement.sh [--SETTING VALUE]...
#
# Evaluates all SIZES (they must be trained) with SERVER=vllm and with SERVER=llamafactory, BENCH_ROUNDS (2) times each,
# for a server that computes in batches differs from itself, too. The first EVAL_LIMIT (500) test items are asked.
# Everything goes to BENCH_DIR (a new temporary folder), which is kept: agreement.json there holds what the table shows.
# BENCH_SERVERS="vllm llamafactory" says which; what is there already is not asked again.

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
  local server round failed=0
  begin_script "$0" "$@"
  work_folder
  own_children
  for ((round = 1; round <= ${BENCH_ROUNDS:-2}; round++)); do
    for server in ${BENCH_SERVERS:-vllm llamafactory}; do
      say "round $round: $server"
      # Without what only one of the two can do, or this bench does not look at.
      with_settings "$WORK/$server.$round" "SERVER=$server" "OBJS_DIR=$WORK/$server.$round" \
        "LOGS_DIR=$WORK/$server.$round/logs" "EVAL_LIMIT=${EVAL_LIMIT:-500}" SPLIT=test CONSTRAIN=0 OVERLAP=0 \
        ADAPTER_CHECK=0 -- "$BASH" -p bin/eval.sh || failed=1
    done
  done
  python bench/agreement.py --folder "$WORK" --name "$SWEEP_NAME" --sizes "${SIZES[@]}"
  return "$failed"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
