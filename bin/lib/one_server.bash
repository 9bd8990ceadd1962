# SERVER=vllm: one server for the base model and all adapters; every size is asked by a process of its own, all at once.
# shellcheck shell=bash

# evaluate_at_once SIZE...: evaluate the sizes, and exit as each_size does. With --follow they are being trained
# meanwhile: each is evaluated when its training has ended.
evaluate_at_once() {
  local -A running=()
  local follow=() size todo=() failed=() again restarts=0 status
  settings_as_flags
  ((FOLLOW == 0)) || follow=(--follow)
  for size; do
    if ((FOLLOW)) || _is_to_do "$size"; then todo+=("$size"); fi
  done
  while ((${#todo[@]} > 0)); do
    again=() status=0
    serve_all || status=$?
    if ((status == 0)); then
      for size in "${todo[@]}"; do
        start_script "size $size" bin/eval.sh "${FLAGS[@]}" "--worker=$size" "${follow[@]}"
        running[$GROUP]=$size
      done
      while ((${#running[@]} > 0)) && _worker_or_server_ended; do :; done
      stop_server 0 || true
    elif ((FOLLOW)); then
      say "the server could not be started beside the training; it is started again when that has ended"
      run_child "the wait for the training" python py/await_training.py --outcome "$(outcome_file training)" \
        --pid "$FEWSHOT_TRAINING"
      FOLLOW=0 follow=()
      continue
    else
      failed+=("${todo[@]}")
    fi
    ((${#again[@]} > 0)) || break
    if ((restarts == SERVER_RESTARTS)); then
      say_why "not evaluated after $((restarts + 1)) server(s): size(s) ${again[*]}; run the same command again to go on"
      failed+=("${again[@]}")
      break
    fi
    restarts=$((restarts + 1))
    say "starting a new server ($restarts of $SERVER_RESTARTS) for size(s) ${again[*]}; answers so far are kept"
    todo=("${again[@]}")
    FLAGS+=(--force=0) # what has been answered by now is kept
  done
  ((${#failed[@]} > 0)) || exit 0
  say "evaluation failed for size(s) ${failed[*]}"
  exit 1
}

# _is_to_do SIZE: there is something to ask; else what became of it is noted, in failed too (evaluate_at_once's).
_is_to_do() {
  local status=0
  begin_outcome evaluation "$1"
  is_evaluated "$1" || status=$?
  ((status != NOT_EVALUATED)) || return 0
  end_outcome $((status == 0 ? DONE_BEFORE : 1)) evaluation "$1"
  ((status == 0)) || failed+=("$1")
  return 1
}

# _worker_or_server_ended: wait for the next end; notes it in again, failed and running, which are evaluate_at_once's. A
# server that has died or hangs ends all who ask it; returns 1 then.
_worker_or_server_ended() {
  local group='' status=0 size
  wait -n -p group "${!running[@]}" "$SERVER_GROUP" || status=$?
  if [[ $group == "$SERVER_GROUP" ]]; then
    say_why "the server ended in the middle, with status $status"
    show_tail "$SERVER_LOG"
  else
    size=${running[$group]}
    stop_group "$group" || true
    unset "running[$group]"
    case $status in
    0) return 0 ;;
    "$AGAIN") again+=("$size") ;;
    *)
      failed+=("$size")
      return 0
      ;;
    esac
  fi
  for group in "${!running[@]}"; do
    stop_group "$group" || true
    again+=("${running[$group]}")
    unset "running[$group]"
  done
  return 1
}

# serve_all: start the server and wait until the base model answers, and its probe set with ADAPTER_CHECK. Exports what
# the workers need: FEWSHOT_SERVER, FEWSHOT_SERVER_PID and the key.
serve_all() {
  local status=0 probe=()
  SERVER_LOG=$LOGS_DIR/$SWEEP_NAME.server.log
  ((ADAPTER_CHECK == 0)) || probe=(--probe "$(probe_file 0)")
  run_child "the chat template" python py/chat_template.py --model "$MODEL" --template "$TEMPLATE" --data "$DATA_DIR" \
    --out "$(chat_template_file)" || return 1
  # Beside trainers on several GPUs it has the last one.
  ((FOLLOW == 0)) || export CUDA_VISIBLE_DEVICES=${GPUS[-1]}
  serve 0 "$SERVER_LOG" "${probe[@]}" || return
  export FEWSHOT_SERVER=$URL FEWSHOT_SERVER_PID=$SERVER_GROUP
}

# ask_at SIZE: have the running server load the size's adapter, see that it is applied, and ask it everything.
ask_at() {
  local size=$1 status=0 probe=() load=()
  if ((size > 0)); then
    convert_adapter "$size" || return 1
    load=(--load-adapter "$CONVERTED")
    ((ADAPTER_CHECK == 0)) || probe=(--probe "$(probe_file "$size")" --differs-from "$(probe_file 0)")
  fi
  probe_command "$size"
  run_child "the readiness probe of size $size" "${PROBE[@]}" --base-url "$FEWSHOT_SERVER" --wait "$REQUEST_TIMEOUT" \
    --pid "$FEWSHOT_SERVER_PID" --out "$LOGS_DIR/$(run_name "$size").server.json" "${load[@]}" "${probe[@]}" || status=$?
  case $status in
  0) ;;
  "$DIED" | "$TIME_OUT" | "$PORT_TAKEN") return "$AGAIN" ;;
  *)
    not_applied "$size" "$status"
    return 1
    ;;
  esac
  say "size $size: evaluating on $FEWSHOT_SERVER"
  run_child "the evaluator of size $size" "${EVALUATOR[@]}" --base-url "$FEWSHOT_SERVER" \
    --server-pid "$FEWSHOT_SERVER_PID" || status=$?
  case $status in
  0 | 2) return "$status" ;; # 2: nothing that a new server would mend
  *) return "$AGAIN" ;;
  esac
}
