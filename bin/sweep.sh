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

set -Eeuo pipefail
# shellcheck source=lib/all.bash
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.bash"

# step NAME SCRIPT: run one script of the sweep with the settings that were found here, so that neither another current
# folder nor an edit of settings.sh in the middle of the night changes them. Returns its exit status.
step() {
  local name=$1 begun=$SECONDS status=0
  begin_outcome "$name" ''
  start_script "the step '$name'" "$2" "${FLAGS[@]}"
  wait_group "$GROUP" || status=$?
  end_outcome "$status" "$name"
  if ((status == 0)); then
    say "$name: done in $((SECONDS - begun)) s"
  else
    say "$name: ended with status $status after $((SECONDS - begun)) s"
  fi
  return "$status"
}

# preflight [--after-data]: what would go wrong later is said now, all of it at once.
preflight() {
  local problem found=() status=0
  ((SKIP_PREFLIGHT == 0)) || return 0
  ((DRY_RUN)) || found=(--out "$LOGS_DIR/$SWEEP_NAME.preflight.json")
  if [[ ${1-} != --after-data ]]; then
    problem=$( (choose_device) 2>&1 >/dev/null) || found+=("--problem=${problem##*error: }")
  fi
  begin_outcome preflight ''
  run_child "the preflight" python py/preflight.py "${FLAGS[@]}" "${found[@]}" "$@" || status=$?
  end_outcome "$status" preflight
  ((status == 0)) || exit "$status"
}

# lock_outputs: one sweep at a time for one folder of results. The lock ends with this process, however it ends.
lock_outputs() {
  exec 9>>"$OBJS_DIR/.sweep.lock"
  flock -n 9 || die "another sweep writes to $OBJS_DIR: $(<"$OBJS_DIR/.sweep.lock"); wait for it, or give this one another OBJS_DIR, SAVES_DIR and LOGS_DIR"
  printf 'process %s, started %s\n' "$$" "$(date -Is)" >"$OBJS_DIR/.sweep.lock"
}

# plan: what main would do.
plan() {
  plan_of bin/build_data.sh
  [[ $MODEL != "$SAVES_DIR/tiny/base" ]] || plan_of bin/base_model.sh
  plan_of bin/train.sh
  plan_of bin/eval.sh
  plan_of bin/results.sh
  [[ $'\n'${PLANNED-} == *$'\n'data* || ${PLANNED-} == *'base model'* ]] || preflight --after-data
}

SCRIPT_FLAGS=(--dry-run)

# in_the_morning STATUS: on every exit, what became of each size, and word to the user.
in_the_morning() {
  local summary=$OBJS_DIR/$SWEEP_NAME/summary.txt base=()
  ((WITH_BASE == 0)) || base=(--with-base)
  python py/summarize.py --outcomes "$FEWSHOT_OUTCOMES" --name "$SWEEP_NAME" --split "$SPLIT" --sizes "${SIZES[@]}" \
    "${base[@]}" --objs "$OBJS_DIR" --status "$1" --started "$BEGUN" || return
  [[ -n $ON_FINISH ]] || return 0
  # By way of a descriptor: the process list would show what may be secret in it. A minute, for the container's end
  # waits for it.
  env -u FEWSHOT_API_KEY -u API_KEY -u HF_TOKEN -u HUGGING_FACE_HUB_TOKEN -u MODELSCOPE_API_TOKEN \
    FEWSHOT_STATUS="$1" FEWSHOT_SUMMARY="${summary%.txt}.json" timeout --kill-after 5 60 bash /dev/fd/3 \
    <"$summary" >"$LOGS_DIR/$SWEEP_NAME.on_finish.log" 2>&1 3<<<"$ON_FINISH" 9>&- ||
    warn "ON_FINISH ended with status $? (log: $LOGS_DIR/$SWEEP_NAME.on_finish.log)"
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
  local failed=0
  begin_script "$0" "$@"
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
  [[ $MODEL != "$SAVES_DIR/tiny/base" ]] || step 'base model' bin/base_model.sh
  preflight --after-data
  step training bin/train.sh || failed=$?
  ((failed <= 1)) || exit "$failed"
  step evaluation bin/eval.sh || failed=$?
  ((failed <= 1)) || exit "$failed"
  # When sizes have failed, that is what this ends with, even if there is no result to show.
  step results bin/results.sh || failed=$((failed > 0 ? failed : $?))
  say "sweep $SWEEP_NAME: ended after $SECONDS s"
  exit "$failed"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
