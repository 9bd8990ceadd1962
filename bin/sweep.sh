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
  start_group "the step '$name'" - "$2" "${FLAGS[@]}"
  # It ends its own children, each within STOP_TIMEOUT, before it ends; killed earlier it would leave them behind.
  # shellcheck disable=SC2034 # for process.bash
  PATIENCE[$GROUP]=$((3 * STOP_TIMEOUT + 60))
  wait_group "$GROUP" || status=$?
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
  start_group "the preflight" - python py/preflight.py "${FLAGS[@]}" "${found[@]}" "$@"
  wait_group "$GROUP" || status=$?
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

main() {
  local failed=0
  begin_script "$0" "$@"
  own_children
  settings_as_flags
  preflight
  if ((DRY_RUN)); then
    plan
    exit
  fi
  ensure_folder "$OBJS_DIR"
  lock_outputs
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
  say "sweep $SWEEP_NAME: ended after $SECONDS s; results in $OBJS_DIR/$SWEEP_NAME/"
  exit "$failed"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
