#!/usr/bin/env bash
# Summary: How much of what the server can take our evaluation takes: plain requests against it, on the same server.
#
# Usage: bench/server.sh [--SETTING VALUE]...
#
# Starts one `vllm serve` for SIZES (they must be trained), as bin/eval.sh does with SERVER=vllm. For each adapter in
# turn the first EVAL_LIMIT (2000) test items are asked by bench/load.py, four processes of plain requests with 512 in
# flight, and by py/eval.py with all of it automatic; the order changes from adapter to adapter. Everything goes to
# BENCH_DIR (a new temporary folder), which is kept: server.json there holds what the table shows. With
# BENCH_MARGINS=1 each answer's distance from another one is measured too, which bench/agreement.py then tells of.

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

# plain RUN [ARGUMENT...]
plain() {
  run_child "plain requests for ${TITLE_OF[$1]}" python bench/load.py --base-url "$URL" --model "$1" \
    --data "$DATA_DIR/llm_test.json" --limit "$LIMIT" --max-tokens "$MAX_TOKENS" --out "$WORK/plain.$1.json" "${@:2}"
}

ours() { our_evaluation "$1" "$WORK/ours" "$LIMIT"; }

# asking: while the server runs.
asking() {
  local run number=0
  for run in "${RUNS[@]}"; do
    if ((number++ % 2)); then
      ours "$run"
      plain "$run"
    else
      plain "$run"
      ours "$run"
    fi
  done
  if ((${BENCH_MARGINS:-0})); then
    for run in "${RUNS[@]}"; do plain "$run" --margins --out "$WORK/margins.$run.json"; done
  fi
  python bench/server.py --folder "$WORK" "${RUNS[@]}"
}

main() {
  local run adapters=()
  begin_script "$0" "$@"
  work_folder
  LIMIT=${EVAL_LIMIT:-2000}
  own_children
  use_hardware
  list_runs trainings 1
  if [[ -n ${URL-} ]]; then
    asking
    return
  fi
  export BENCH_DIR=$WORK
  run_child "the chat template" python py/chat_template.py
  for run in "${RUNS[@]}"; do adapters+=(--adapter "$run"); done
  RUST_FRONT=0 vllm_command # the plain requests have nothing that it needs
  run_child "the bench" python bench/serve.py "$SWEEP_NAME-zero-shot" "$WORK/server.log" "${adapters[@]}" -- \
    "${SERVER_COMMAND[@]}" -- "$BASH" -p bench/server.sh
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
