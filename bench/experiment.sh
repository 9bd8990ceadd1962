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

# settings_as_flags: fill FLAGS with every setting as it is now; not ON_FINISH, which may be secret.
settings_as_flags() {
  local flag
  FLAGS=()
  for flag in "${!SETTING_FLAG[@]}"; do
    local -n value=${SETTING_FLAG[$flag]}
    [[ $flag == --on-finish ]] || FLAGS+=("$flag=${value[*]}")
  done
}

the_seeds_way() {
  local work=$1/seed smallest=${SIZES[0]} size way
  for size in "${SIZES[@]}"; do ((size >= smallest)) || smallest=$size; done
  # On a CPU checkpointing is left out of both ways; on a GPU it is LLaMA-Factory's default, and the original's.
  way=("SIZES=$smallest" "SAVES_DIR=$work/saves" "LOGS_DIR=$work/logs" "OBJS_DIR=$work/objs" SWEEP_NAME=bench
    TRAINER=llamafactory-cli "MICRO_BATCH=$BATCH_SIZE" "CHECKPOINTING=$((${#GPUS[@]} > 0))" QUANTIZATION=none
    TRAIN_JOBS=1 SERVER=llamafactory GPU_MEMORY=0.7)
  with_settings "$work" "${way[@]}" -- "$BASH" -p bin/build_data.sh
  with_settings "$work" "${way[@]}" -- "$BASH" -p bin/train.sh
  [[ -z ${BENCH_ASKED-} ]] || way+=("SIZES=$BENCH_ASKED" "SAVES_DIR=$1/ours/saves")
  with_settings "$work" "${way[@]}" -- "$BASH" -p bench/experiment.sh --ask-as-the-original "$work"
}

# ask_as_the_original WORK: the first run, by the original's loop.
ask_as_the_original() {
  list_runs trainings 1
  api_command "${RUNS[0]}"
  # shellcheck disable=SC2016 # for the shell that is started
  run_child "the original's loop" python bench/serve.py "${RUNS[0]}" "$1/server.log" -- "${SERVER_COMMAND[@]}" -- \
    bash -c 'exec python bench/seed_loop.py --base-url "$URL" "$@"' _ --data "$DATA_DIR/llm_test.json" \
    --limit "${BENCH_ITEMS:-200}" --max-tokens "$MAX_TOKENS" --adapter "${ADAPTER_OF[${RUNS[0]}]}" --out "$1/loop.json"
}

our_way() {
  local work=$1/ours status=0
  local way=("--saves-dir=$work/saves" "--logs-dir=$work/logs" "--objs-dir=$work/objs" --sweep-name=bench)
  mkdir -p -- "$work"
  if command -v nvidia-smi >/dev/null; then
    start_group "the look at the GPU's memory" "$work/memory.txt" \
      nvidia-smi "${LOOKED_AT[@]}" --query-gpu=memory.used --format=csv,noheader,nounits --loop-ms=1000
  fi
  local watching=${GROUP-}
  run_child "our sweep" env "${GPUS_GIVEN[@]}" bin/sweep.sh "${FLAGS[@]}" "${way[@]}" || status=$?
  [[ -z $watching ]] || stop_group "$watching"
  return "$status"
}

main() {
  local part ask=''
  if [[ ${1-} == --ask-as-the-original ]]; then ask=$2 && shift 2; fi
  begin_script "$0" "$@"
  settings_as_flags # before what is auto is decided
  # use_hardware leaves one GPU; our sweep has all that were given.
  GPUS_GIVEN=(-u CUDA_VISIBLE_DEVICES) LOOKED_AT=()
  if [[ -n ${CUDA_VISIBLE_DEVICES-} ]]; then
    GPUS_GIVEN=("CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES") LOOKED_AT=("--id=$CUDA_VISIBLE_DEVICES")
  fi
  work_folder
  own_children
  use_hardware
  if [[ -n $ask ]]; then
    ask_as_the_original "$ask"
    return
  fi
  for part in ${BENCH_PARTS:-ours seed}; do
    case $part in
    ours) our_way "$WORK" ;;
    seed) the_seeds_way "$WORK" ;;
    *) die "BENCH_PARTS: no part '$part'; there are ours and seed" ;;
    esac
  done
  python bench/experiment.py --folder "$WORK" --sizes "${SIZES[@]}" --epochs "$EPOCHS" --data "$DATA_DIR" --model "$MODEL"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
