#!/usr/bin/env bash
# Summary: Serve and evaluate the adapter of each size.
#
# Usage: bin/eval.sh [--with-base] [--SETTING VALUE]...
#
# SERVER=llamafactory: for each N in SIZES starts `llamafactory-cli api` with the adapter on 127.0.0.1, waits until it
# has answered a completion, asks it every example of the split through LangChain (py/infer_eval.py), ends it, and
# verifies that nothing is left. SERVER=vllm: starts one `vllm serve` for all, loads each adapter into it, and asks
# all sizes at once.
# With --with-base the base model is evaluated too, as size 0.
#
# The base model and each adapter are asked a few texts without the instruction first: an adapter whose answers equal the
# base model's is not applied, and its size fails (--adapter-check 0: without).
#
# Results go to objs/<run>.json and objs/<run>.pkl, answers as they arrive to objs/<run>.predictions.jsonl, logs to
# logs/<run>.server.log and logs/<run>.eval.log. A size that is evaluated already is skipped; an interrupted one goes
# on with the examples that have no answer yet. A size that fails does not stop the others.
#
# Exit status: 0 all sizes are evaluated, 1 some failed, 2 something for you to mend, 130/143/129 interrupted.

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
source "${0%/*}/lib/all.bash"

AGAIN=5 # serve_and_ask: a new server may do better

SCRIPT_FLAGS=(--dry-run --worker --follow)

# plan_evaluation SIZE: what evaluate_size would do. The server and the evaluator share a random key, new for each
# server, by way of the environment (API_KEY, FEWSHOT_API_KEY).
plan_evaluation() {
  local size=$1 status=0
  evaluator_command "$size"
  if ! waits_for "evaluation $size" "data llm_$SPLIT.json" 'base model' "training $size"; then
    "${EVALUATOR[@]}" --plan || status=$?
    ((status != 0)) || return 0
    ((status == NOT_EVALUATED)) || return 1
  fi
  if [[ $SERVER == vllm ]]; then
    vllm_command "$API_PORT"
    would_run env VLLM_ALLOW_RUNTIME_LORA_UPDATING=True "${SERVER_COMMAND[@]}"
    would_run "${EVALUATOR[@]}" --base-url "http://127.0.0.1:$API_PORT/v1"
    return
  fi
  server_command "$size"
  would_run env API_HOST=127.0.0.1 "API_PORT=$API_PORT" "API_MODEL_NAME=$(run_name "$size")" "${SERVER_COMMAND[@]}"
  would_run "${EVALUATOR[@]}" --base-url "http://127.0.0.1:$API_PORT/v1"
}

# evaluate_size SIZE: returns 0 when the size is evaluated, now or before.
evaluate_size() {
  local size=$1 status=0
  if ((DRY_RUN)); then
    plan_evaluation "$size"
    return
  fi
  if ((FOLLOW && size > 0)); then
    run_child "the wait for the training of size $size" python py/await_training.py \
      --outcome "$(outcome_file training "$size")" --pid "$FEWSHOT_TRAINING" || return 1
  fi
  begin_outcome evaluation "$size" --log "$LOGS_DIR/$(run_name "$size").server.log"
  _evaluate_size "$size" || status=$?
  end_outcome "$status" evaluation "$size"
  return $((status == DONE_BEFORE ? 0 : status))
}

_evaluate_size() {
  local size=$1 status=0 restarts=0 FORCE=$FORCE
  is_evaluated "$size" || status=$?
  ((status != 0)) || return "$DONE_BEFORE"
  ((status == NOT_EVALUATED)) || return 1
  if [[ -n ${FEWSHOT_SERVER-} ]]; then
    ask_at "$size"
    return
  fi
  if ((size > 0 && ADAPTER_CHECK)); then base_is_asked "$size" || return 1; fi
  while :; do
    status=0
    serve_and_ask "$size" || status=$?
    ((status == AGAIN)) || return "$status"
    if ((restarts == SERVER_RESTARTS)); then
      say "size $size: not evaluated after $((restarts + 1)) server(s); run the same command again to go on"
      return 1
    fi
    restarts=$((restarts + 1))
    say "size $size: starting a new server ($restarts of $SERVER_RESTARTS); answers so far are kept"
  done
}
NOT_EVALUATED=4 # infer_eval.py --only-check: there is something to ask
FOLLOW=0        # --follow: sizes are being trained meanwhile by the process FEWSHOT_TRAINING (bin/sweep.sh)

# is_evaluated SIZE: 0, or NOT_EVALUATED, or another status when it cannot be.
is_evaluated() {
  evaluator_command "$1"
  run_child "the look at size $1" "${EVALUATOR[@]}" --only-check
}

# base_is_asked SIZE: the base model's answers to the probe set are there, now or before: an adapter whose answers are
# the same has not been applied. They are asked for once, by whichever size comes first.
base_is_asked() {
  local status=0
  hold_lock "$OBJS_DIR/.$(run_name 0).probe.lock" "size $1" || return
  _base_is_asked "$1" || status=$?
  let_go
  return "$status"
}

_base_is_asked() {
  local status=0
  probe_command 0
  run_child "the look at the base model's answers" "${PROBE[@]}" --probe-done "$(probe_file 0)" || status=$?
  ((status == TO_BE_ASKED)) || return "$status"
  say "size $1: first the base model is asked, to tell an adapter that is not applied"
  if ! serve 0 "$LOGS_DIR/$(run_name 0).probe.log" --probe "$(probe_file 0)"; then
    say_why "size $1: not evaluated, the base model could not be asked; --adapter-check 0 goes without"
    return 1
  fi
  stop_server 0
}
TO_BE_ASKED=4 # probe_server.py --probe-done

# serve_and_ask SIZE: one server from start to end, and the evaluation as far as it gets with it.
serve_and_ask() {
  local size=$1 log first='' status=0 probe=()
  log=$LOGS_DIR/$(run_name "$size").server.log
  ((size == 0 || ADAPTER_CHECK == 0)) || probe=(--probe "$(probe_file "$size")" --differs-from "$(probe_file 0)")
  serve "$size" "$log" "${probe[@]}" || return
  say "size $size: evaluating on $URL"
  start_group "the evaluator of size $size" - "${EVALUATOR[@]}" --base-url "$URL" --server-pid "$SERVER_GROUP"
  # Whichever ends first: a server that has died is known at once, not when the evaluator's retries are used up.
  wait -n -p first "$GROUP" "$SERVER_GROUP" || status=$?
  if [[ $first == "$SERVER_GROUP" ]]; then
    say_why "size $size: the server ended in the middle, with status $status"
    status=1
  fi
  stop_group "$GROUP" || true
  if ((status != 0)); then
    show_tail "$log"
    FORCE=0 # what this evaluator did is kept by the next one
    evaluator_command "$size"
  fi
  stop_server "$size" || return 1
  case $status in
  0 | 2) return "$status" ;; # 2: nothing that a new server would mend
  *) return "$AGAIN" ;;
  esac
}

# serve SIZE LOG [ARGUMENT...]: start the server of a size, with SERVER=vllm of all, and wait until it answers as this
# size; the arguments go to the probe. A port that another program has taken, before our server listened there or as it
# did, means another port. Sets SERVER_GROUP and URL, and the key in the environment. When it returns another status than
# 0, the server has ended.
serve() {
  local size=$1 log=$2 what="size $1: starting the server" status tries
  [[ $SERVER != vllm ]] || what='starting the server of all sizes'
  for ((tries = 1; ; tries++)); do
    status=0
    new_api_key
    say "$what (log: $log)"
    if [[ $SERVER == vllm ]]; then start_vllm "$log"; else start_server "$size" "$log" || return 1; fi
    URL=http://127.0.0.1:$PORT/v1
    probe_command "$size"
    run_child "the readiness probe of size $size" "${PROBE[@]}" --base-url "$URL" --wait "$READY_TIMEOUT" \
      --pid "$SERVER_GROUP" --out "${log%.log}.json" "${@:3}" || status=$?
    ((status != 0)) || return 0
    not_applied "$size" "$status" || show_tail "$log"
    stop_server "$size" || return 1
    ((status == PORT_TAKEN)) || return 1
    # shellcheck disable=SC2034 # for free_port
    # shellcheck disable=SC2004 # an associative array of server.bash
    LOST_PORTS[$PORT]=1
    ((tries < PORT_TRIES)) || break
  done
  say_why "size $size: no server, for $tries ports were taken by other programs before it had them; set API_PORT to another range"
  return 1
}
PORT_TAKEN=8  # probe_server.py: what listens there is not our server
PORT_TRIES=10 # beside which SERVER_RESTARTS does not count

# not_applied SIZE STATUS: when that was the probe's reason, say what there is to do.
not_applied() {
  (($2 == NOT_APPLIED)) || return
  say "size $1: not evaluated; if so few updates may leave its answers as they were, --adapter-check 0 evaluates it"
}
NOT_APPLIED=6 # probe_server.py --differs-from
# shellcheck disable=SC2034 # for one_server.bash
DIED=3 TIME_OUT=4

# stop_server SIZE: end it, with proof.
stop_server() {
  stop_group "$SERVER_GROUP" && return
  warn "size $1: its server may still hold the GPU; see nvidia-smi"
  return 1
}

# probe_command SIZE: fill PROBE.
probe_command() {
  PROBE=(python py/probe_server.py --served-model "$(run_name "$1")" --data "$DATA_DIR" --model "$MODEL"
  --template "$TEMPLATE" --backend "$BACKEND" --server "$SERVER")
  [[ $SERVER != vllm ]] || PROBE+=(--chat-template "$(chat_template_file)")
}

# probe_file SIZE: its answers to the probe set.
probe_file() { printf '%s/%s.probe.json' "$OBJS_DIR" "$(run_name "$1")"; }

# evaluator_command SIZE: fill EVALUATOR.
evaluator_command() {
  local optional=()
  (($1 == 0)) || optional+=(--adapter "$(adapter_folder "$1")")
  [[ -z $EVAL_LIMIT ]] || optional+=(--limit "$EVAL_LIMIT")
  ((FORCE == 0)) || optional+=(--force)
  ((CONSTRAIN == 0)) || optional+=(--constrain)
  [[ $SERVER != vllm ]] || optional+=(--chat-template "$(chat_template_file)")
  ((FOLLOW == 0)) || optional+=(--helpers-at-once) # one size at a time, mostly
  EVALUATOR=(python py/infer_eval.py --run "$(run_name "$1")" --name "$SWEEP_NAME" --size "$1" --split "$SPLIT"
  --data "$DATA_DIR" --objs "$OBJS_DIR" --served-model "$(run_name "$1")" --model "$MODEL" --template "$TEMPLATE"
  --backend "$BACKEND" --concurrency "$CONCURRENCY" --max-tokens "$MAX_TOKENS"
  --request-timeout "$REQUEST_TIMEOUT" --seed "$SEED" --server "$SERVER" "${optional[@]}")
}

main() {
  begin_script "$0" "$@"
  ensure_folder "$LOGS_DIR"
  ensure_folder "$OBJS_DIR"
  inputs_are_there
  take_fitted_sizes
  choose_device
  resolve_plan
  own_children
  if [[ " ${EXTRA_ARGS[*]-} " == *' --follow '* ]]; then FOLLOW=1; fi
  local sizes=("${SIZES[@]}")
  ((WITH_BASE == 0)) || sizes=(0 "${sizes[@]}")
  if [[ $SERVER == vllm && -z $WORKER && $DRY_RUN == 0 ]]; then
    evaluate_at_once "${sizes[@]}"
  fi
  each_size evaluation "$EVAL_JOBS" evaluate_size "${sizes[@]}"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
