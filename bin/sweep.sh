#!/usr/bin/env bash
# Summary: Run the whole sweep: data, training, evaluation, learning curve.
#
# Usage: bin/sweep.sh [--dry-run] [--SETTING VALUE]...
#        bin/sweep.sh --slurm [--dry-run|--wait|--cancel] [--SETTING VALUE]...
#        nohup docker compose run sweep > sweep.log 2>&1 &
#
# For each N in SIZES (settings.sh): trains an adapter on N examples and evaluates it on the held-out split; then
# prints the table and draws the learning curve. Without settings it runs the embedded profile `tiny`: synthetic
# data, a small model, no GPU and no download but the packages, which the first run installs.
#
# MODELS (profiles) makes it a sweep for each of several models, on the same data, and compares them at the end.
#
# What is finished is skipped, so that the same command goes on after an interruption. A size that fails does not
# stop the others. With --dry-run it only prints the plan: what is done, what would run and why, and the exact
# commands; nothing on the disk changes.
#
# With --slurm the same sweep is jobs of a Slurm cluster (docs/cluster.md): it submits what is neither done nor in the
# queue, prints the jobs' numbers and returns; --wait stays until the end, --cancel ends all.
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

main() {
  unset FEWSHOT_SETTINGS # inherited if another sweep's ON_FINISH started this one
  begin_script "$0" "$@"
  own_children
  [[ -z $MODELS ]] || sweep_models "$@"
  [[ " ${EXTRA_ARGS[*]-} " != *' --slurm '* ]] || slurm_sweep
  if ((DRY_RUN)); then
    dry_run
    exit
  fi
  # The preflight names everything that is in the way, all folders at once; it is under the lock where that can be had.
  (ensure_folder "$OBJS_DIR" && ensure_folder "$LOGS_DIR") 2>/dev/null || preflight
  ensure_folder "$OBJS_DIR"
  ensure_folder "$LOGS_DIR"
  lock_outputs
  no_jobs_queued
  keep_settings
  begin_outcomes
  preflight
  say "sweep $SWEEP_NAME: sizes ${SIZES[*]}, seeds ${SEEDS[*]}, model $MODEL, on the ${DEVICE^^}"
  step data bin/build_data.sh
  [[ -z $MODEL_SCRIPT ]] || step 'base model' "$MODEL_SCRIPT"
  preflight --after-data
  plan_for_hardware
  compare_and_train
  # When runs have failed, that is what this ends with, even if there is no result to show.
  step results bin/results.sh || FAILED=$((FAILED > 0 ? FAILED : $?))
  say "sweep $SWEEP_NAME: ended"
  exit "$FAILED"
}

# train_and_evaluate: sets FAILED to 1 when runs have failed; what the user has to mend ends the sweep.
train_and_evaluate() {
  local training
  if ((OVERLAP)); then
    start_step training bin/train.sh
    training=$GROUP
    # The server starts now; each adapter is asked as soon as its training has ended.
    start_step evaluation bin/eval.sh --follow "$training"
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

SCRIPT_FLAGS=(--dry-run --slurm --wait --cancel)

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  # shellcheck disable=SC2317 # main always exits itself
  exit
}
