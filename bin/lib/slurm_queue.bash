# The jobs of a sweep that are in Slurm's queue: asked for, waited for, cancelled.
# shellcheck shell=bash disable=SC2034 # settings

# tasks_for WHAT ARGUMENT...: ask py/slurm_tasks.py, which asks squeue.
tasks_for() { python py/slurm_tasks.py "$@"; }

# wait_for_jobs: until none is in the queue, with a line whenever something has changed; exits with the sweep's status.
wait_for_jobs() {
  local line before='' status=3 seconds=1
  while :; do
    status=0
    line=$(tasks_for progress) || status=$?
    [[ $line == "$before" ]] || say "$line"
    before=$line
    ((status == 3)) || break
    sleep "$seconds" &
    wait "$!" # which a signal interrupts; the jobs go on
    seconds=$((seconds < 10 ? seconds + 1 : 10))
  done
  ((status == 0)) || exit "$status"
  cat -- "$OBJS_DIR/$SWEEP_NAME/summary.txt" 2>/dev/null || die "the last job left no summary; its log: $SLURM_FOLDER/results-*.log"
  exit "$(sed -nE 's/^  "status": ([0-9]+),?$/\1/p' "$OBJS_DIR/$SWEEP_NAME/summary.json")"
}

# cancel_jobs: all of this sweep; returns when none runs and none has a claim.
cancel_jobs() {
  local ids
  ids=$(tasks_for ids) || exit
  [[ -n $ids ]] || say "sweep $SWEEP_NAME: none of its jobs is in the queue"
  while [[ -n $ids ]]; do
    # shellcheck disable=SC2086 # several
    scancel $ids || true
    sleep 1 &
    wait "$!"
    ids=$(tasks_for ids) || exit
  done
  tasks_for release
  say "sweep $SWEEP_NAME: nothing of it is in the queue; to go on: the same command again"
}

# no_jobs_queued: a sweep on this machine does not work on what jobs work on.
no_jobs_queued() {
  SLURM_FOLDER=$LOGS_DIR/$SWEEP_NAME.slurm
  [[ -f $SLURM_FOLDER/jobs.json ]] && type -P squeue >/dev/null || return 0
  [[ -z $(tasks_for ids) ]] ||
    die "jobs of this sweep are in the queue of the cluster; wait for them (--slurm --wait), or cancel them (--slurm --cancel)"
}

# cancel_comparison: that of all models, before their jobs, whose end it waits for.
cancel_comparison() { tasks_for ids | xargs -r scancel; }

# models_by_jobs NAME...: when the jobs of these sweeps, one a model, have ended, a last one compares them. With --wait
# until then; exits with the worst of their statuses.
models_by_jobs() {
  local name ids=() failed=0 sweep=$SWEEP_NAME jobs JOB submitted=()
  for name; do
    mapfile -t -O "${#ids[@]}" ids < <(FEWSHOT_SETTINGS=$LOGS_DIR/$name.settings.json tasks_for ids)
  done
  SLURM_FOLDER=$LOGS_DIR/$sweep.slurm
  ensure_folder "$SLURM_FOLDER"
  if [[ -z $(tasks_for ids) && (${#ids[@]} -gt 0 || ! -f $OBJS_DIR/$sweep/results.json) ]]; then
    printf -v jobs ':%s' "${ids[@]}"
    rm -f -- "$SLURM_FOLDER/jobs.json"
    SETTINGS_OF=$1 submit comparison cpu '' "${ids:+afterany$jobs}" "$OBJS_DIR/$sweep" "${@:2}"
    say "sweep $sweep: submitted: comparison $JOB"
  fi
  [[ " ${EXTRA_ARGS[*]} " == *' --wait '* ]] || exit 0
  for name; do
    (
      export FEWSHOT_SETTINGS=$LOGS_DIR/$name.settings.json
      SWEEP_NAME=$name SLURM_FOLDER=$LOGS_DIR/$name.slurm
      wait_for_jobs
    ) || failed=$(($? > failed ? $? : failed))
  done
  while [[ -n $(tasks_for ids) ]]; do
    sleep 1 &
    wait "$!"
  done
  exit "$failed"
}
