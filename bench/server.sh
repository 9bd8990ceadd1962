#!/usr/bin/env bash
# Summary: How much of what the server can take our evaluation takes: plain requests against it, on the same server.
#
# Usage: bench/server.sh [--SETTING VALUE]...
#
# Starts one `vllm serve` for SIZES (they must be trained), as bin/eval.sh does with SERVER=vllm. For each adapter in
# turn the first EVAL_LIMIT (2000) test items are asked by bench/load.py, four processes of plain requests with 512 in
# flight, and by py/infer_eval.py with all of it automatic; the order changes from adapter to adapter. Everything goes to
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
# shellcheck source=../bin/lib/all.bash
source "${0%/*}/../bin/lib/all.bash"
# shellcheck source=lib.bash
source "${0%/*}/lib.bash"

plain() {
  run_child "plain requests for size $1" python bench/load.py --base-url "$URL" --model "$(run_name "$1")" \
    --data "$DATA_DIR/llm_test.json" --limit "$LIMIT" --max-tokens "$MAX_TOKENS" --out "$WORK/plain.$1.json" "${@:2}"
}

ours() { our_evaluation "$1" "$WORK/ours" "$LIMIT" --server vllm --helpers-at-once; }

main() {
  local size number=0
  begin_script "$0" "$@"
  work_folder
  LIMIT=${EVAL_LIMIT:-2000}
  # shellcheck disable=SC2034 # for choose_device
  LOGS_DIR=$WORK
  own_children
  choose_device
  resolve_plan
  run_child "the chat template" python py/chat_template.py --model "$MODEL" --template "$TEMPLATE" --data "$DATA_DIR" \
    --out "$(chat_template_file)"
  new_api_key
  start_vllm "$WORK/server.log"
  URL=http://127.0.0.1:$PORT/v1
  await_answer 0 "$WORK/ready.0.json"
  for size in "${SIZES[@]}"; do
    convert_adapter "$size"
    await_answer "$size" "$WORK/ready.$size.json" --load-adapter "$CONVERTED"
    if ((number % 2)); then
      ours "$size"
      plain "$size"
    else
      plain "$size"
      ours "$size"
    fi
    number=$((number + 1))
  done
  if ((${BENCH_MARGINS:-0})); then
    for size in "${SIZES[@]}"; do
      plain "$size" --margins --out "$WORK/margins.$(run_name "$size").json"
    done
  fi
  stop_group "$SERVER_GROUP"
  python bench/server.py --folder "$WORK" --name "$SWEEP_NAME" --sizes "${SIZES[@]}"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
