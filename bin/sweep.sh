#!/usr/bin/env bash
# Summary: Run the whole sweep: data, training, evaluation, learning curve.
#
# Usage: bin/sweep.sh [--dry-run] [--SETTING VALUE]...
#        nohup docker compose run sweep > sweep.log 2>&1 &
#
# For each N in SIZES (settings.sh): trains an adapter on N examples and evaluates it on the held-out split; then
# prints the table and draws the learning curve. Without settings it runs the embedded profile `tiny`: synthetic
# data, a small model, no GPU and no download but the packages, which the first run installs.
#
# What is finished is skipped, so that the same command goes on after an interruption. A size that fails does not
# stop the others. With --dry-run it only prints the plan: what is done, what would run and why, and the exact
# commands; nothing on the disk changes.
#
# However it ends, it says last what became of each size, and writes that to objs/<sweep>/summary.json and summary.txt.
# ON_FINISH, a command of yours, then gets the text as its input: ON_FINISH='curl -d @- https://ntfy.sh/my-topic'.
#
# Before the first step it checks what would go wrong later (free disk, GPU memory, model, template, packages, ports,
# examples longer than the cutoff), says all of it at once, and keeps it in logs/<sweep>.preflight.json.
#
# Exit status: 0 all done, 1 some sizes failed, 2 something for you to mend, 130/143/129 interrupted.

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

# step NAME SCRIPT [FLAG...]: run one script of the sweep with the settings that were found here, so that neither another
# current folder nor an edit of settings.sh in the middle of the night changes them. Returns its exit status.
step() {
  start_step "$@"
  end_step "$1" "$GROUP"
}

start_step() {
  begin_outcome "$1" ''
  start_script "the step '$1'" "$2" "${FLAGS[@]}" "${@:3}"
  now
  BEGUN_AT[$GROUP]=$NOW
}
declare -A BEGUN_AT=()

# end_step NAME GROUP: wait until it has ended, note it, and return its exit status.
end_step() {
  local status=0 seconds
  wait_group "$2" || status=$?
  end_outcome "$status" "$1"
  now
  seconds=$((NOW - BEGUN_AT[$2]))
  if ((status == 0)); then
    say "$1: done in $seconds s"
  else
    say "$1: ended with status $status after $seconds s"
  fi
  return "$status"
}

# train_and_evaluate: sets FAILED to 1 when sizes have failed; what the user has to mend ends the sweep.
train_and_evaluate() {
  local training
  if ((OVERLAP)) && is_to_be_trained; then
    start_step training bin/train.sh
    training=$GROUP
    # The server starts now; each size is asked as soon as its training has ended.
    export FEWSHOT_TRAINING=$training
    start_step evaluation bin/eval.sh --follow
    end_step training "$training" || FAILED=$?
    end_step evaluation "$GROUP" || FAILED=$((FAILED > 1 ? FAILED : $?))
  else
    step training bin/train.sh || FAILED=$?
    ((FAILED <= 1)) || exit "$FAILED"
    step evaluation bin/eval.sh || FAILED=$?
  fi
  ((FAILED <= 1)) || exit "$FAILED"
}
FAILED=0

# is_to_be_trained: there is a size that has no adapter yet.
is_to_be_trained() { [[ $("$BASH" -p bin/train.sh "${FLAGS[@]}" --dry-run) == *': to do'* ]]; }

# preflight [--after-data]: what would go wrong later is said now, all of it at once.
preflight() {
  local problem found=() status=0
  ((SKIP_PREFLIGHT == 0)) || return 0
  ((DRY_RUN)) || found=(--out "$LOGS_DIR/$SWEEP_NAME.preflight.json")
  if [[ ${1-} != --after-data ]]; then
    if problem=$( (choose_device) 2>&1 >/dev/null); then hardware_is_known; else found+=("--problem=${problem##*error: }"); fi
  fi
  begin_outcome preflight ''
  run_child "the preflight" python py/preflight.py "${FLAGS[@]}" "${found[@]}" "$@" || status=$?
  end_outcome "$status" preflight
  ((status == 0)) || exit "$status"
}

# hardware_is_known: the steps need not look again.
hardware_is_known() { [[ $DEVICE == cpu ]] || ((DRY_RUN)) || export FEWSHOT_HARDWARE=$LOGS_DIR/hardware.json; }

# plan_for_hardware: what is `auto` is decided once, for training and evaluation alike.
plan_for_hardware() {
  if [[ -z ${FEWSHOT_HARDWARE-} && $DEVICE == gpu ]] && ((DRY_RUN == 0)); then
    (choose_device)
    hardware_is_known
  fi
  resolve_plan
  export FEWSHOT_PLAN=$PLAN
  settings_as_flags
}

# lock_outputs: one sweep at a time for one folder of results. The lock ends with this process, however it ends.
lock_outputs() {
  exec 9>>"$OBJS_DIR/.sweep.lock"
  flock -n 9 || die "another sweep writes to $OBJS_DIR: $(<"$OBJS_DIR/.sweep.lock"); wait for it, or give this one another OBJS_DIR, SAVES_DIR and LOGS_DIR"
  printf 'process %s, started %s\n' "$$" "$(date -Is)" >"$OBJS_DIR/.sweep.lock"
}

# plan: what main would do.
plan() {
  plan_for_hardware
  plan_of bin/build_data.sh
  take_fitted_sizes
  settings_as_flags
  [[ $MODEL != "$SAVES_DIR/tiny/base" ]] || plan_of bin/base_model.sh
  plan_of bin/train.sh
  plan_of bin/eval.sh
  plan_of bin/results.sh
  [[ $'\n'${PLANNED-} == *$'\n'data* || ${PLANNED-} == *'base model'* ]] || preflight --after-data
}

SCRIPT_FLAGS=(--dry-run)

# in_the_morning STATUS: on every exit, what became of each size, and word to the user.
in_the_morning() {
  local summary=$OBJS_DIR/$SWEEP_NAME/summary.json log=$LOGS_DIR/$SWEEP_NAME.on_finish.log text base=()
  ((WITH_BASE == 0)) || base=(--with-base)
  python py/summarize.py --outcomes "$FEWSHOT_OUTCOMES" --name "$SWEEP_NAME" --split "$SPLIT" --sizes "${SIZES[@]}" \
    "${base[@]}" --objs "$OBJS_DIR" --status "$1" --started "$BEGUN" || summary=''
  [[ -n $ON_FINISH ]] || return 0
  # Word is sent also when no file can be written any more: that is the night to hear of.
  text=$([[ -z $summary ]] || cat -- "${summary%.json}.txt") || summary=''
  [[ -n $summary ]] || text="sweep $SWEEP_NAME: ended with status $1; its summary could not be written to $OBJS_DIR"
  : 2>/dev/null >"$log" || log=/dev/null
  # By way of a descriptor: the process list would show what may be secret in it. A minute, for the container's end
  # waits for it.
  env -u FEWSHOT_API_KEY -u API_KEY -u HF_TOKEN -u HUGGING_FACE_HUB_TOKEN -u MODELSCOPE_API_TOKEN \
    FEWSHOT_STATUS="$1" FEWSHOT_SUMMARY="$summary" timeout --kill-after 5 60 bash /dev/fd/3 \
    <<<"$text" >"$log" 2>&1 3<<<"$ON_FINISH" 9>&- ||
    warn "ON_FINISH ended with status $? (log: $log)"
}

# note_this_night: from here on this sweep has its own account of what becomes of each step.
note_this_night() {
  export FEWSHOT_OUTCOMES=$LOGS_DIR/$SWEEP_NAME.outcomes
  BEGUN=$(date +%s)
  rm -rf -- "$FEWSHOT_OUTCOMES"
  # After KILL nothing would tell that an earlier night's are not of this one.
  rm -f -- "$OBJS_DIR/$SWEEP_NAME"/summary.{json,txt}
  mkdir -p -- "$FEWSHOT_OUTCOMES"
  # shellcheck disable=SC2034 # for process.bash
  AT_EXIT=in_the_morning
}

main() {
  begin_script "$0" "$@"
  unset FEWSHOT_HARDWARE FEWSHOT_PLAN # inherited if another sweep's ON_FINISH started this one
  own_children
  settings_as_flags
  if ((DRY_RUN)); then
    preflight
    plan
    exit
  fi
  # The preflight names everything that is in the way, all folders at once; it is under the lock where that can be had.
  (ensure_folder "$OBJS_DIR" && ensure_folder "$LOGS_DIR") 2>/dev/null || preflight
  ensure_folder "$OBJS_DIR"
  ensure_folder "$LOGS_DIR"
  lock_outputs
  note_this_night
  preflight
  say "sweep $SWEEP_NAME: sizes ${SIZES[*]}, model $MODEL, on the ${DEVICE^^}"
  step data bin/build_data.sh
  take_fitted_sizes
  settings_as_flags
  [[ $MODEL != "$SAVES_DIR/tiny/base" ]] || step 'base model' bin/base_model.sh
  preflight --after-data
  plan_for_hardware
  train_and_evaluate
  # When sizes have failed, that is what this ends with, even if there is no result to show.
  step results bin/results.sh || FAILED=$((FAILED > 0 ? FAILED : $?))
  say "sweep $SWEEP_NAME: ended"
  exit "$FAILED"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  # shellcheck disable=SC2317 # main always exits itself
  exit
}
