#!/usr/bin/env bash
# Summary: Serve and evaluate the adapter of each run.
#
# Usage: bin/eval.sh [--follow PID] [--SETTING VALUE]...
#
# SERVER=llamafactory: for each run a `llamafactory-cli api` with its adapter on 127.0.0.1, EVAL_JOBS at a time.
# SERVER=vllm: one `vllm serve`, which loads each adapter; all runs are asked at once. py/eval.py starts the server,
# waits until it has answered a completion, checks that the adapter is applied (--adapter-check 0: without), asks every
# example of the split through LangChain, scores and ends the server. A run that fails does not stop the others.
# Results go to objs/<run>.json and .pkl, answers as they arrive to objs/<run>.predictions.jsonl, logs to logs/. A run that
# is evaluated already is skipped; an interrupted one goes on with the examples that have no answer yet. With --follow
# the process PID is training meanwhile: each run is evaluated when its training has ended.
#
# Exit status: 0 all runs are evaluated, 1 some failed, 2 something for you to mend, 130/143/129 interrupted.

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
source "${BASH_SOURCE[0]%/*}/lib/all.bash"

# api_command RUN: fill SERVER_COMMAND with the original's eval.sh, flag by flag; the base model has no adapter.
api_command() {
  SERVER_COMMAND=(llamafactory-cli api --model_name_or_path "$MODEL" ${MODEL_COMMIT:+--model_revision "$MODEL_COMMIT"})
  [[ ${ADAPTER_OF[$1]} == - ]] || SERVER_COMMAND+=(--adapter_name_or_path "${ADAPTER_OF[$1]}" --finetuning_type lora)
  SERVER_COMMAND+=(--template "$TEMPLATE" --infer_backend "$BACKEND")
  if [[ $BACKEND == vllm ]]; then
    SERVER_COMMAND+=(--vllm_enforce_eager)
    [[ $GPU_MEMORY == 0.7 ]] || SERVER_COMMAND+=(--vllm_gpu_util "$GPU_MEMORY") # 0.7 is its own
    ((MODEL_LENGTH == 4096)) || SERVER_COMMAND+=(--vllm_maxlen "$MODEL_LENGTH") # 4096 is its own
    # Its engine is not told of the revision otherwise.
    [[ -z $MODEL_COMMIT ]] || SERVER_COMMAND+=(--vllm_config "{\"revision\": \"$MODEL_COMMIT\", \"tokenizer_revision\": \"$MODEL_COMMIT\"}")
  fi
  split_words "$SERVER_ARGS" && SERVER_COMMAND+=("${WORDS[@]}")
}

# vllm_command: fill SERVER_COMMAND. As `llamafactory-cli api` with vLLM has it: 4096 tokens at most, bf16, nothing of the
# model's own generation settings, and the template that was trained (py/chat_template.py).
vllm_command() {
  local run many=0 front=(vllm serve "$MODEL" --generation-config vllm) steps=(--enforce-eager)
  for run in "${RUNS[@]}"; do [[ ${ADAPTER_OF[$run]} == - ]] || many=$((many + 1)); done
  local -A dtype=([bf16]=bfloat16 [fp16]=float16)
  # vLLM's front end in Rust answers more requests a second. It lacks that flag: the client sends what it is for.
  ((RUST_FRONT == 0)) || front=(env VLLM_USE_RUST_FRONTEND=1 VLLM_RUNTIME_LORA_ALLOWED_PATH_PREFIXES=/ vllm serve "$MODEL")
  # CUDA graphs of all but attention, without compilation, which takes a minute. Whole ones answer NaN with adapters.
  ((SERVER_GRAPHS == 0)) || front=(env VLLM_USE_BREAKABLE_CUDAGRAPH=1 "${front[@]}") steps=(--compilation-config "$CAPTURED")
  SERVER_COMMAND=("${front[@]}" ${MODEL_COMMIT:+--revision "$MODEL_COMMIT" --tokenizer-revision "$MODEL_COMMIT"}
    --chat-template "$SAVES_DIR/$MODEL_NAME/$TEMPLATE.jinja"
    --dtype "${dtype[$PRECISION]-auto}" ${SERVER_QUANTIZATION:+--quantization "$SERVER_QUANTIZATION"}
    --max-model-len "$MODEL_LENGTH" --gpu-memory-utilization "$GPU_MEMORY" --enable-prefix-caching --enable-lora
    --max-lora-rank "$MAX_LORA_RANK" --max-loras "$((many == 0 ? 1 : many < 8 ? many : 8))" --max-cpu-loras "$((many < 8 ? 8 : many))" "${steps[@]}")
  # Given, nothing is measured at the start: what trainers take or free meanwhile would be counted as the server's own.
  ((KV_CACHE_BYTES == 0)) || SERVER_COMMAND+=(--kv-cache-memory-bytes "$KV_CACHE_BYTES")
  split_words "$SERVER_ARGS" && SERVER_COMMAND+=("${WORDS[@]}")
}

# command_of RUN: fill COMMAND for each_run.
command_of() {
  api_command "$1"
  # shellcheck disable=SC2034 # for each_run
  COMMAND=(python py/eval.py "$1" "${FOLLOW[@]}" "${DRY[@]}" -- "${SERVER_COMMAND[@]}")
}

SCRIPT_FLAGS=(--dry-run) FOLLOW=() DRY=()
CAPTURED='{"cudagraph_mode": "PIECEWISE", "cudagraph_capture_sizes": [4, 16, 64, 256, 1024]}'

main() {
  if [[ ${1-} == --follow ]]; then FOLLOW=("${@:1:2}") && shift 2; fi
  begin_script "$0" "$@"
  ensure_folder "$LOGS_DIR" && ensure_folder "$OBJS_DIR"
  inputs_are_there
  use_hardware
  own_children
  list_runs evaluations "$EVAL_JOBS"
  ((${#RUNS[@]} > 0)) || exit 0
  revision_is_known
  ((DRY_RUN == 0)) || DRY=(--dry-run)
  # Once, here: what is answered from now on is kept, however often a server or a program is started anew.
  ((FORCE == 0 || DRY_RUN)) || run_child "the look at earlier results" python py/eval.py "${RUNS[@]}" --set-aside
  [[ $SERVER == vllm ]] || each_run evaluation "$EVAL_JOBS" --again # it exits
  # All runs by one program, with one server: on the last GPU where it may run beside trainers, else on the first.
  vllm_command
  ((OVERLAP == 0)) || export CUDA_VISIBLE_DEVICES=${GPUS[-1]}
  start_family "the evaluation" python py/eval.py "${RUNS[@]}" "${FOLLOW[@]}" "${DRY[@]}" -- "${SERVER_COMMAND[@]}"
  wait_group "$GROUP" || exit "$(($? > 3 ? 1 : $?))"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
