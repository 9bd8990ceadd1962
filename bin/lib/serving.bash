# The server of bin/chat.sh and bin/serve.sh.
# shellcheck shell=bash

# serve_command [RUN]...: fill SERVER_COMMAND, by the functions of bin/eval.sh, with the server of these runs.
serve_command() {
  local run
  ensure_folder "$LOGS_DIR"
  inputs_are_there
  use_hardware
  list_runs evaluations 1
  ADAPTER_OF['base']=-
  for run; do
    [[ -v ADAPTER_OF[$run] ]] || die "no run $run in this sweep; there are: ${RUNS[*]}"
    [[ ${ADAPTER_OF[$run]} == - || -f ${ADAPTER_OF[$run]}/training.json ]] || die "$run is not trained; train it with bin/train.sh"
  done
  if [[ $SERVER == vllm ]]; then
    RUNS=("$@")
    vllm_command
  else
    (($# <= 1)) || die "llamafactory-cli api serves one run; give one, or set SERVER=vllm"
    api_command "${1-base}"
  fi
}
