# What the benches have in common.
# shellcheck shell=bash

# work_folder: set WORK to BENCH_DIR, or to a new temporary folder.
work_folder() {
  WORK=${BENCH_DIR:-$(mktemp -d)}
  mkdir -p -- "$WORK"
  WORK=$(cd -- "$WORK" && pwd -P)
}

# await_answer SIZE OUT [ARGUMENT...]: the server at URL, of SERVER_GROUP, answers as that size; OUT tells after how long.
await_answer() {
  run_child "the readiness probe" python py/probe_server.py --base-url "$URL" --served-model "$(run_name "$1")" \
    --data "$DATA_DIR" --wait "$READY_TIMEOUT" --pid "$SERVER_GROUP" --out "$2" "${@:3}"
}

# our_evaluation SIZE OBJS LIMIT [ARGUMENT...]: ask the first LIMIT test items through the server at URL.
our_evaluation() {
  run_child "our evaluation of size $1" python py/infer_eval.py --run "$(run_name "$1")" --name "$SWEEP_NAME" \
    --size "$1" --data "$DATA_DIR" --objs "$2" --limit "$3" --base-url "$URL" --served-model "$(run_name "$1")" \
    --model "$MODEL" --adapter "$(adapter_folder "$1")" --template "$TEMPLATE" --backend "$BACKEND" \
    --concurrency "$CONCURRENCY" --max-tokens "$MAX_TOKENS" "${@:4}"
}
