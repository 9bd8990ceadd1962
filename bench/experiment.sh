#!/usr/bin/env bash
# Summary: The whole experiment: the original's way, a part of it timed, against ours, all of it, on the same machine.
#
# Usage: bench/experiment.sh [--SETTING VALUE]...
#
# The original's way: `llamafactory-cli train` with the original's batches and checkpointing for the smallest of SIZES, then
# `llamafactory-cli api` asked BENCH_ITEMS items (200), one at a time, by the original's loop (bench/seed_loop.py). Ours:
# bin/sweep.sh with the settings that are given. Both into BENCH_DIR (a new temporary folder), which is kept:
# experiment.json there holds what the table shows. What the original's way would take in all is computed from its rates.
# One request at a time, an answer takes as long as it has tokens, and an adapter of few updates may answer at length:
# BENCH_ASKED=2000 has the original's loop ask our adapter of that size (of BENCH_DIR) instead of the original's of the smallest.
# BENCH_PARTS="ours seed" says which of the two to run now; what the other has left in BENCH_DIR is used.

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

# in_folder FOLDER: fill WAY with all settings, and the outputs in FOLDER.
in_folder() {
  WAY=("${FLAGS[@]}" "--saves-dir=$1/saves" "--logs-dir=$1/logs" "--objs-dir=$1/objs" "--sweep-name=bench")
}

the_seeds_way() {
  local work=$1/seed smallest=${SIZES[0]} size
  for size in "${SIZES[@]}"; do ((size >= smallest)) || smallest=$size; done
  in_folder "$work"
  run_child "the data" bin/build_data.sh "${WAY[@]}"
  # On a CPU checkpointing is left out of both ways; on a GPU it is LLaMA-Factory's default, and the original's.
  local checkpointing=1
  [[ $DEVICE == gpu ]] || checkpointing=0
  WAY+=("--sizes=$smallest" --trainer=llamafactory-cli "--micro-batch=$BATCH_SIZE" "--checkpointing=$checkpointing"
    --quantization=none --train-jobs=1 --server=llamafactory --gpu-memory=0.7)
  run_child "the original's training" bin/train.sh "${WAY[@]}"
  load_settings "${WAY[@]}"
  local asked=$smallest
  if [[ -n ${BENCH_ASKED-} ]]; then
    asked=$BENCH_ASKED
    # shellcheck disable=SC2034 # for adapter_folder
    SAVES_DIR=$1/ours/saves
  fi
  new_api_key
  start_server "$asked" "$work/server.log"
  URL=http://127.0.0.1:$PORT/v1
  await_answer "$asked" "$work/server.json"
  run_child "the original's loop" python bench/seed_loop.py --base-url "$URL" \
    --data "$DATA_DIR/llm_test.json" --limit "${BENCH_ITEMS:-200}" --max-tokens "$MAX_TOKENS" \
    --adapter "$(adapter_folder "$asked")" --out "$work/loop.json"
  stop_group "$SERVER_GROUP"
}

our_way() {
  local work=$1/ours status=0
  in_folder "$work"
  mkdir -p -- "$work"
  if command -v nvidia-smi >/dev/null; then
    start_group "the look at the GPU's memory" "$work/memory.txt" \
      nvidia-smi "${LOOKED_AT[@]}" --query-gpu=memory.used --format=csv,noheader,nounits --loop-ms=1000
  fi
  local watching=${GROUP-}
  run_child "our sweep" env "${GPUS_GIVEN[@]}" bin/sweep.sh "${WAY[@]}" || status=$?
  [[ -z $watching ]] || stop_group "$watching"
  return "$status"
}

main() {
  local part sizes
  begin_script "$0" "$@"
  # choose_device leaves one GPU; our sweep has all that were given.
  GPUS_GIVEN=(-u CUDA_VISIBLE_DEVICES) LOOKED_AT=()
  if [[ -n ${CUDA_VISIBLE_DEVICES-} ]]; then
    GPUS_GIVEN=("CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES") LOOKED_AT=("--id=$CUDA_VISIBLE_DEVICES")
  fi
  work_folder
  # shellcheck disable=SC2034 # for choose_device
  LOGS_DIR=$WORK
  own_children
  choose_device
  settings_as_flags
  sizes=("${SIZES[@]}") # the original's way changes the settings
  for part in ${BENCH_PARTS:-ours seed}; do
    case $part in
    ours) our_way "$WORK" ;;
    seed) the_seeds_way "$WORK" ;;
    *) die "BENCH_PARTS: no part '$part'; there are ours and seed" ;;
    esac
  done
  python bench/experiment.py --folder "$WORK" --sizes "${sizes[@]}" --epochs "$EPOCHS" --data "$DATA_DIR" --model "$MODEL"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
