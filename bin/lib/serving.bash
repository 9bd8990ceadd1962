# What bin/chat.sh, bin/serve.sh and bin/demo.sh share.
# shellcheck shell=bash

# take_flag FLAG WHAT ARGUMENT...: fill TAKEN with FLAG and its value, wherever they stand, and REST with all else.
take_flag() {
  local flag=$1 what=$2
  TAKEN=() REST=()
  shift 2
  while (($# > 0)); do
    if [[ $1 == "$flag" ]]; then
      [[ -n ${2-} ]] || die "$what is missing; see --help"
      TAKEN=("$1" "$2") && shift 2
    else
      REST+=("$1") && shift
    fi
  done
}

# take_host ARGUMENT...: the same with --host.
take_host() {
  take_flag --host 'the address to listen at' "$@"
  case ${TAKEN[1]-127.0.0.1} in
  127.0.0.1 | 0.0.0.0) ;;
  *) die "${TAKEN[1]}: 127.0.0.1 is this machine alone, 0.0.0.0 lets others in" ;;
  esac
}

# become PROGRAM ARGUMENT...: go on as a program of py/, so that keyboard and signals are its own. It removes the settings
# file, for no trap is left here to do it.
become() { FEWSHOT_OWN_SETTINGS=$OWN_SETTINGS exec python "$@"; }

# serve_command [RUN]...: fill SERVER_COMMAND, by the functions of bin/eval.sh, with the server of these runs.
serve_command() {
  local run
  ensure_folder "$LOGS_DIR"
  list_runs evaluations 1
  ADAPTER_OF['base']=-
  for run; do [[ -z $run || -v ADAPTER_OF[$run] ]] || not_here "$run"; done
  [[ -z $MODELS ]] || die 'with MODELS each model has a sweep of its own; with the settings of one:' \
    "$(with_settings "$LOGS_DIR/$SWEEP_NAME-${MODELS%% *}.settings.json" RUN)"
  for run; do [[ -n $run ]] || die "which runs? there are: ${RUNS[*]-none}"; done
  inputs_are_there
  for run; do
    [[ ${ADAPTER_OF[$run]} == - || -f ${ADAPTER_OF[$run]}/training.json ]] || die "$run is not trained; train it with bin/train.sh"
  done
  use_hardware
  revision_is_known
  if [[ $SERVER == vllm ]]; then
    RUNS=("$@")
    RUST_FRONT=0 SERVER_GRAPHS=0 vllm_command # whoever asks it sends no more than he wants to
  else
    (($# <= 1)) || die "llamafactory-cli api serves one run; give one, or set SERVER=vllm"
    api_command "${1-base}"
  fi
}

# not_here RUN: end with what to do about a run that is not of this sweep. Every sweep keeps its settings.
not_here() {
  local file
  for file in "$LOGS_DIR"/*.settings.json; do
    ! FEWSHOT_SETTINGS=$file python py/list_runs.py evaluations 2>/dev/null | cut -f 1 | grep -xF -- "$1" >/dev/null ||
      die "$1 is a run of another sweep; with the settings of that one: $(with_settings "$file" "$1")"
  done
  die "no run $1 in this sweep that a server answers for; there are: ${RUNS[*]-none}"
}

# with_settings FILE RUN: print the command that asks this run with these settings.
with_settings() { printf 'FEWSHOT_SETTINGS=%q bin/%s %s' "$1" "${0##*/}" "$2"; }
