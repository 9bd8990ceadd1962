#!/usr/bin/env bash
# Summary: Serve and evaluate the adapter of each size.
#
# Usage: bin/eval.sh [--with-base] [--SETTING VALUE]...
#
# For each N in SIZES: starts `llamafactory-cli api` with the adapter on 127.0.0.1, waits until it has answered a
# completion, asks it every example of the split through LangChain (py/infer_eval.py), ends it, and verifies that
# nothing is left. With --with-base the base model is evaluated too, as size 0.
#
# Results go to objs/<run>.json and objs/<run>.pkl, answers as they arrive to objs/<run>.predictions.jsonl, logs to
# logs/<run>.server.log and logs/<run>.eval.log. A size that is evaluated already is skipped; an interrupted one goes
# on with the examples that have no answer yet. A size that fails does not stop the others.
#
# Exit status: 0 all sizes are evaluated, 1 some failed, 2 something for you to mend, 130/143/129 interrupted.

set -Eeuo pipefail
# shellcheck source=lib/all.bash
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.bash"

AGAIN=5 # serve_and_ask: a new server may do better

SCRIPT_FLAGS=(--dry-run)

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
  server_command "$size"
  would_run env API_HOST=127.0.0.1 "API_PORT=$API_PORT" "API_MODEL_NAME=$(run_name "$size")" "${SERVER_COMMAND[@]}"
  would_run "${EVALUATOR[@]}" --base-url "http://127.0.0.1:$API_PORT/v1"
}

# evaluate_size SIZE: returns 0 when the size is evaluated, now or before.
evaluate_size() {
  local size=$1 status=0 restarts=0 FORCE=$FORCE
  if ((DRY_RUN)); then
    plan_evaluation "$size"
    return
  fi
  evaluator_command "$size"
  "${EVALUATOR[@]}" --only-check || status=$?
  ((status != 0)) || return 0
  ((status == NOT_EVALUATED)) || return 1
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

# serve_and_ask SIZE: one server from start to end, and the evaluation as far as it gets with it.
serve_and_ask() {
  local size=$1 run log url server first='' status=0
  run=$(run_name "$size")
  log=$LOGS_DIR/$run.server.log
  FEWSHOT_API_KEY=$(new_api_key)
  export FEWSHOT_API_KEY
  say "size $size: starting the server (log: $log)"
  start_server "$size" "$log" || return 1
  server=$SERVER url=http://127.0.0.1:$PORT/v1
  start_group "the readiness probe of size $size" - python py/probe_server.py --base-url "$url" --served-model "$run" \
    --data "$DATA_DIR" --wait "$READY_TIMEOUT" --pid "$server" --out "$LOGS_DIR/$run.server.json"
  if ! wait_group "$GROUP"; then
    show_tail "$log"
    # Another program may have taken the port between our look and the server's start.
    ! port_was_taken "$log" || status=$AGAIN
    stop_group "$server" || true
    return $((status == 0 ? 1 : status))
  fi
  say "size $size: evaluating on $url"
  start_group "the evaluator of size $size" - "${EVALUATOR[@]}" --base-url "$url"
  # Whichever ends first: a server that has died is known at once, not when the evaluator's retries are used up.
  wait -n -p first "$GROUP" "$server" || status=$?
  if [[ $first == "$server" ]]; then
    say "size $size: the server ended in the middle, with status $status"
    status=1
  fi
  stop_group "$GROUP" || true
  if ((status != 0)); then
    show_tail "$log"
    FORCE=0 # what this evaluator did is kept by the next one
    evaluator_command "$size"
  fi
  stop_group "$server" || {
    warn "size $size: its server may still hold the GPU; see nvidia-smi"
    return 1
  }
  case $status in
  0 | 2) return "$status" ;; # 2: nothing that a new server would mend
  *) return "$AGAIN" ;;
  esac
}

# evaluator_command SIZE: fill EVALUATOR.
evaluator_command() {
  local optional=()
  (($1 == 0)) || optional+=(--adapter "$(adapter_folder "$1")")
  [[ -z $EVAL_LIMIT ]] || optional+=(--limit "$EVAL_LIMIT")
  ((FORCE == 0)) || optional+=(--force)
  EVALUATOR=(python py/infer_eval.py --run "$(run_name "$1")" --name "$SWEEP_NAME" --size "$1" --split "$SPLIT"
  --data "$DATA_DIR" --objs "$OBJS_DIR" --served-model "$(run_name "$1")" --model "$MODEL" --template "$TEMPLATE"
  --backend "$BACKEND" --concurrency "$CONCURRENCY" --max-tokens "$MAX_TOKENS"
  --request-timeout "$REQUEST_TIMEOUT" --seed "$SEED" "${optional[@]}")
}

main() {
  begin_script "$0" "$@"
  ensure_folder "$LOGS_DIR"
  ensure_folder "$OBJS_DIR"
  choose_device
  own_children
  local sizes=("${SIZES[@]}")
  ((WITH_BASE == 0)) || sizes=(0 "${sizes[@]}")
  each_size "$EVAL_JOBS" evaluate_size "${sizes[@]}"
  ((${#FAILED_SIZES[@]} == 0)) || {
    ((DRY_RUN == 0)) || exit 2
    say "evaluation failed for size(s) ${FAILED_SIZES[*]}"
    exit 1
  }
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
