# The server of one adapter: a free port, a key for this run only, ready when it answers, ended as a group.
# shellcheck shell=bash

# free_port FIRST: the first port from FIRST on that nothing on 127.0.0.1 listens on. Sets PORT.
free_port() {
  for ((PORT = $1; PORT < $1 + 100 && PORT <= 65535; PORT++)); do
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
      ((PORT == $1)) || say "port $1 is in use; taking $PORT"
      return
    fi
  done
  die "no free port from $1 to $((PORT - 1)) on 127.0.0.1; set API_PORT to another range, or see who listens: ss -ltnp"
}

# new_api_key: 128 random bits. They go to server and client through the environment only, so that neither a log nor
# the process list shows them, nor the trace of DEBUG=1.
new_api_key() {
  local -
  set +x
  FEWSHOT_API_KEY=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  export FEWSHOT_API_KEY
}

# server_command SIZE: fill SERVER_COMMAND, the seed's eval.sh flag by flag; size 0 is the base model.
server_command() {
  local adapter
  SERVER_COMMAND=(llamafactory-cli api --model_name_or_path "$MODEL")
  if (($1 > 0)); then
    adapter=$(adapter_folder "$1")
    # vLLM refuses adapters of fused modules, GLM-4's gate_up_proj: it gets them split, exactly.
    if [[ $BACKEND == vllm ]]; then
      local convert=(python py/convert_adapter.py --adapter "$adapter")
      if ((DRY_RUN)); then would_run "${convert[@]}"; else "${convert[@]}" || return; fi
      [[ ! -d $adapter/vllm ]] || adapter+=/vllm
    fi
    SERVER_COMMAND+=(--adapter_name_or_path "$adapter" --finetuning_type lora)
  fi
  SERVER_COMMAND+=(--template "$TEMPLATE" --infer_backend "$BACKEND")
  [[ $BACKEND != vllm ]] || SERVER_COMMAND+=(--vllm_enforce_eager)
  local extra
  read -r -a extra <<<"$SERVER_ARGS"
  SERVER_COMMAND+=("${extra[@]}")
}

# start_server SIZE LOG: start it in its own process group. Sets SERVER (the group) and PORT.
start_server() {
  free_port "$API_PORT"
  server_command "$1" || return
  export API_HOST=127.0.0.1 API_PORT=$PORT API_MODEL_NAME API_VERBOSE=0
  API_MODEL_NAME=$(run_name "$1")
  _export_key
  start_log "$2" "${SERVER_COMMAND[@]}"
  start_group "the server of size $1" "$2" "${SERVER_COMMAND[@]}"
  # shellcheck disable=SC2034 # for the caller
  SERVER=$GROUP
  unset API_KEY
}

_export_key() {
  local -
  set +x
  export API_KEY=$FEWSHOT_API_KEY
}

# port_was_taken LOG: the server ended because something else listens on its port.
port_was_taken() { tail -n 30 -- "$1" 2>/dev/null | grep -qi 'address already in use'; }

# show_tail LOG: the end of a log, as evidence beside an error.
show_tail() {
  printf -- '--- last lines of %s\n' "$1" >&2
  tail -n 15 -- "$1" >&2 2>/dev/null || true
  printf -- '---\n' >&2
}
