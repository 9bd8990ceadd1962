# What bin/chat.sh, bin/serve.sh and bin/demo.sh share.
# shellcheck shell=bash

# take_host ARGUMENT...: fill main's `host` when the first argument is --host.
take_host() {
  [[ ${1-} == --host ]] || return 0
  (($# > 1)) || die 'the address to listen at is missing; see --help'
  [[ $2 == 127.0.0.1 || $2 == 0.0.0.0 ]] || die "$2: 127.0.0.1 is this machine alone, 0.0.0.0 lets others in"
  # shellcheck disable=SC2034 # for main
  host=("${@:1:2}")
}

# become PROGRAM ARGUMENT...: go on as a program of py/, so that keyboard and signals are its own. It removes the settings
# file, for no trap is left here to do it.
become() { FEWSHOT_OWN_SETTINGS=$OWN_SETTINGS exec python "$@"; }

# serve_command [RUN]...: fill SERVER_COMMAND, by the functions of bin/eval.sh, with the server of these runs.
serve_command() {
  local run
  ensure_folder "$LOGS_DIR"
  inputs_are_there
  list_runs evaluations 1
  ADAPTER_OF['base']=-
  for run; do
    [[ -n $run ]] || die "which runs? there are: ${RUNS[*]}"
    [[ -v ADAPTER_OF[$run] ]] || die "no run $run in this sweep; there are: ${RUNS[*]}"
    [[ ${ADAPTER_OF[$run]} == - || -f ${ADAPTER_OF[$run]}/training.json ]] || die "$run is not trained; train it with bin/train.sh"
  done
  use_hardware
  if [[ $SERVER == vllm ]]; then
    RUNS=("$@")
    vllm_command
  else
    (($# <= 1)) || die "llamafactory-cli api serves one run; give one, or set SERVER=vllm"
    api_command "${1-base}"
  fi
}
