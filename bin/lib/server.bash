# The server of one adapter: a free port, a key for this run only, ready when it answers, ended as a group.
# shellcheck shell=bash

# free_port FIRST: the first port from FIRST on that nothing listens on, that no other sweep has chosen, and that
# is none of LOST_PORTS. Sets PORT. It may be lost before our server has it: serve (bin/eval.sh) sees to that.
free_port() {
  for ((PORT = $1; PORT < $1 + 100 && PORT <= 65535; PORT++)); do
    if [[ ! -v LOST_PORTS[$PORT] ]] && ! _is_in_use "$PORT"; then
      ((PORT == $1)) || say "port $1 is in use; taking $PORT"
      return
    fi
  done
  die "no free port from $1 to $((PORT - 1)) on 127.0.0.1; set API_PORT to another range, or see who listens: ss -ltnp"
}
declare -A LOST_PORTS=() # another program had them before our server

# _is_in_use PORT: the kernel says so; asked, a program that answers nobody would be waited for. 0A: it listens. The name
# is the mark of py/hold_port.py.
_is_in_use() {
  local hex
  printf -v hex '%04X' "$1"
  grep -qsaE ":$hex [0-9A-F]+:[0-9A-F]+ 0A |@few-shot-sft:$1\$" /proc/net/tcp /proc/net/tcp6 /proc/net/unix
}

# new_api_key: 128 random bits. They go to server and client through the environment only, so that neither a log nor
# the process list shows them, nor the trace of DEBUG=1.
new_api_key() {
  local -
  set +x
  FEWSHOT_API_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  export FEWSHOT_API_KEY
}

# server_command SIZE: fill SERVER_COMMAND, the original's eval.sh flag by flag; size 0 is the base model.
server_command() {
  local adapter
  SERVER_COMMAND=(llamafactory-cli api --model_name_or_path "$MODEL")
  if (($1 > 0)); then
    adapter=$(adapter_folder "$1")
    # vLLM refuses adapters of fused modules, GLM-4's gate_up_proj: it gets them split, exactly.
    if [[ $BACKEND == vllm ]]; then
      convert_adapter "$1" || return
      adapter=$CONVERTED
    fi
    SERVER_COMMAND+=(--adapter_name_or_path "$adapter" --finetuning_type lora)
  fi
  SERVER_COMMAND+=(--template "$TEMPLATE" --infer_backend "$BACKEND")
  [[ $BACKEND != vllm ]] || SERVER_COMMAND+=(--vllm_enforce_eager)
  # 0.7 is LLaMA-Factory's own.
  [[ $BACKEND != vllm || $GPU_MEMORY == 0.7 ]] || SERVER_COMMAND+=(--vllm_gpu_util "$GPU_MEMORY")
  split_words "$SERVER_ARGS"
  SERVER_COMMAND+=("${WORDS[@]}")
}

# convert_adapter SIZE: sets CONVERTED, the folder that vLLM can load.
convert_adapter() {
  CONVERTED=$(adapter_folder "$1")
  local convert=(python py/convert_adapter.py --adapter "$CONVERTED")
  if ((DRY_RUN)); then would_run "${convert[@]}"; else run_child "the conversion of the adapter $1" "${convert[@]}" || return; fi
  [[ ! -d $CONVERTED/vllm ]] || CONVERTED+=/vllm
}

# start_server SIZE LOG: start it in its own process group. Sets SERVER_GROUP and PORT.
start_server() {
  free_port "$API_PORT"
  server_command "$1" || return
  export API_HOST=127.0.0.1 API_PORT=$PORT API_MODEL_NAME API_VERBOSE=0
  API_MODEL_NAME=$(run_name "$1")
  _start_server "the server of size $1" "$2"
}

# start_vllm LOG: one server for the base model and all adapters, which are loaded when they are there (run_name is the
# name of each). Sets SERVER_GROUP and PORT.
start_vllm() {
  free_port "$API_PORT"
  vllm_command "$PORT"
  # Adapters are loaded while it runs; it tells nobody about itself.
  export VLLM_ALLOW_RUNTIME_LORA_UPDATING=True VLLM_NO_USAGE_STATS=1
  _start_server "the server" "$1"
}

_start_server() {
  _export_key
  start_log "$2" "${SERVER_COMMAND[@]}"
  start_group "$1" "$2" python py/hold_port.py "$PORT" "${SERVER_COMMAND[@]}"
  # shellcheck disable=SC2034 # for the caller
  SERVER_GROUP=$GROUP
  unset API_KEY VLLM_API_KEY
}

# vllm_command PORT: fill SERVER_COMMAND. As `llamafactory-cli api` with vLLM has it: 4096 tokens at most, bf16, nothing
# of the model's own generation settings, and the template that was trained (chat_template_file).
vllm_command() {
  local rank
  # The ranks that vLLM has kernels for.
  for rank in 8 16 32 64 128 256 320 512; do ((rank < LORA_RANK)) || break; done
  ((rank >= LORA_RANK)) || die "LORA_RANK=$LORA_RANK: vLLM serves adapters up to rank 512; set SERVER=llamafactory BACKEND=huggingface"
  local many=${#SIZES[@]} dtype=auto
  case $PRECISION in
  bf16) dtype=bfloat16 ;;
  fp16) dtype=float16 ;;
  esac
  SERVER_COMMAND=(vllm serve "$MODEL"
    --host 127.0.0.1
    --port "$1"
    --served-model-name "$(run_name 0)"
    --chat-template "$(chat_template_file)"
    --generation-config vllm
    --dtype "$dtype"
    --max-model-len 4096
    --gpu-memory-utilization "$GPU_MEMORY"
    --enable-prefix-caching
    --enable-lora
    --max-lora-rank "$rank"
    --max-loras "$((many < 8 ? many : 8))"
    --max-cpu-loras "$((many < 8 ? 8 : many))")
  ((EAGER == 0)) || SERVER_COMMAND+=(--enforce-eager)
  # Given, nothing is measured at the start: what trainers take or free meanwhile would be counted as the server's own.
  ((KV_CACHE_BYTES == 0)) || SERVER_COMMAND+=(--kv-cache-memory-bytes "$KV_CACHE_BYTES")
  split_words "$SERVER_ARGS"
  SERVER_COMMAND+=("${WORDS[@]}")
}

# chat_template_file: what vLLM renders prompts with.
chat_template_file() { printf '%s/%s/%s.jinja' "$SAVES_DIR" "$MODEL_NAME" "$TEMPLATE"; }

_export_key() {
  local -
  set +x
  export API_KEY=$FEWSHOT_API_KEY VLLM_API_KEY=$FEWSHOT_API_KEY
}

# show_tail LOG: the end of a log, as evidence beside an error.
show_tail() {
  printf -- '--- last lines of %s\n' "$1" >&2 || true
  tail -n 15 -- "$1" >&2 2>/dev/null || true
  printf -- '---\n' >&2 || true
}
