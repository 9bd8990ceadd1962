# The parts of bin/sweep.sh: its steps, what comes before and after them.
# shellcheck shell=bash

# step NAME SCRIPT [FLAG...]: run one script of the sweep with the settings that were found at its start, so that neither
# another current folder nor an edit of settings.sh in the middle of the night changes them. Returns its exit status.
step() {
  start_step "$@"
  end_step "$1" "$GROUP"
}

start_step() {
  begin_outcome "$1"
  start_script "the step '$1'" "${@:2}"
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

# compare_and_train: the methods that need no server run on the CPU, while the GPU trains. When they fail, that stops
# neither the training nor the evaluation.
compare_and_train() {
  local baselines others=0
  start_step baselines bin/baselines.sh
  baselines=$GROUP
  [[ $DEVICE == gpu ]] || end_step baselines "$baselines" || others=1
  train_and_evaluate
  if [[ $DEVICE == gpu ]]; then
    end_step baselines "$baselines" || others=1
    ! has_gpu_baselines || step 'gpu baselines' bin/baselines.sh --on-gpu || others=1
  fi
  FAILED=$((FAILED > 0 ? FAILED : others))
}

# has_gpu_baselines: some methods without a server want the GPU, and have it when the evaluation has ended.
has_gpu_baselines() { [[ $DEVICE == gpu && " $METHODS " == @(*' llm-embedding '*|*' encoder '*|*' setfit '*) ]]; }

# preflight [--after-data]: what would go wrong later is said now, all of it at once.
preflight() {
  local status=0 how=("$@")
  ((SKIP_PREFLIGHT == 0)) || return 0
  ((DRY_RUN == 0)) || how+=(--dry-run)
  begin_outcome preflight
  run_child "the preflight" python py/preflight.py "${how[@]}" || status=$?
  end_outcome "$status" preflight
  ((status == 0)) || exit "$status"
}

# plan_for_hardware: what is `auto` is decided once, for training and evaluation alike.
plan_for_hardware() {
  # The preflight has looked at the GPUs.
  if ((SKIP_PREFLIGHT)); then use_hardware; else use_hardware --known; fi
}

# lock_outputs: one sweep at a time for one folder of results. The lock ends with this process, however it ends.
lock_outputs() {
  exec 9>>"$OBJS_DIR/.sweep.lock"
  flock -n 9 || die "another sweep writes to $OBJS_DIR: $(<"$OBJS_DIR/.sweep.lock"); wait for it, or give this one another OBJS_DIR, SAVES_DIR and LOGS_DIR"
  printf 'process %s, started %s\n' "$$" "$(date -Is)" >"$OBJS_DIR/.sweep.lock"
}

# keep_settings: from here on the sweep and its parts go by logs/<sweep>.settings.json, which tells what was run.
keep_settings() {
  write_settings "$LOGS_DIR/$SWEEP_NAME.settings.json"
  export FEWSHOT_SETTINGS=$LOGS_DIR/$SWEEP_NAME.settings.json
  rm -f -- "$OWN_SETTINGS"
  OWN_SETTINGS=''
}

# begin_outcomes: from here on this sweep notes how each step ends.
begin_outcomes() {
  export FEWSHOT_OUTCOMES=$LOGS_DIR/$SWEEP_NAME.outcomes
  BEGUN=$(date +%s)
  rm -rf -- "$FEWSHOT_OUTCOMES"
  # After SIGKILL an earlier sweep's would pass for this one's.
  rm -f -- "$OBJS_DIR/$SWEEP_NAME"/summary.{json,txt}
  mkdir -p -- "$FEWSHOT_OUTCOMES"
  # shellcheck disable=SC2034 # for process.bash
  AT_EXIT=summarize
}

# summarize STATUS: on every exit, say how each run ended, and tell ON_FINISH.
summarize() {
  local summary=$OBJS_DIR/$SWEEP_NAME/summary.json log=$LOGS_DIR/$SWEEP_NAME.on_finish.log text
  python py/summarize.py --status "$1" --started "$BEGUN" || summary=''
  [[ -n $ON_FINISH ]] || return 0
  # Also when no file can be written any more: that is when the user needs to hear of it.
  text=$([[ -z $summary ]] || cat -- "${summary%.json}.txt") || summary=''
  [[ -n $summary ]] || text="sweep $SWEEP_NAME: ended with status $1; its summary could not be written to $OBJS_DIR"
  : 2>/dev/null >"$log" || log=/dev/null
  # By way of a descriptor: the process list would show what may be secret in it. A minute, for the container's end
  # waits for it.
  env -u FEWSHOT_SETTINGS -u FEWSHOT_OUTCOMES -u FEWSHOT_OUTCOME -u API_KEY -u HF_TOKEN -u HUGGING_FACE_HUB_TOKEN -u MODELSCOPE_API_TOKEN \
    FEWSHOT_STATUS="$1" FEWSHOT_SUMMARY="$summary" timeout --kill-after 5 60 bash /dev/fd/3 \
    <<<"$text" >"$log" 2>&1 3<<<"$ON_FINISH" 9>&- ||
    warn "ON_FINISH ended with status $? (log: $log)"
}

# dry_run: what main would do. The first step that cannot tell ends it.
dry_run() {
  local script
  FEWSHOT_PLANNED=$(mktemp -- "${TMPDIR:-/tmp}/few-shot-sft.XXXXXX")
  export FEWSHOT_PLANNED
  # shellcheck disable=SC2034 # for process.bash
  AT_EXIT=forget_planned
  preflight
  dry_run_of bin/build_data.sh # the plan is made for the sizes that fit
  use_hardware
  for script in ${MODEL_SCRIPT:+"$MODEL_SCRIPT"} bin/baselines.sh bin/train.sh bin/eval.sh bin/results.sh; do
    dry_run_of "$script"
    [[ $script != bin/eval.sh ]] || ! has_gpu_baselines || dry_run_of bin/baselines.sh --on-gpu
  done
  # What is not there yet cannot be looked at.
  grep -qE '\.json"$|^"base model"$' "$FEWSHOT_PLANNED" || preflight --after-data
}

dry_run_of() {
  local status=0
  start_script "the dry run of $1" "$@" --dry-run
  wait_group "$GROUP" || status=$?
  # 3: there is something to do
  ((status == 0 || status == 3)) || exit "$status"
}

forget_planned() { rm -f -- "$FEWSHOT_PLANNED"; }
