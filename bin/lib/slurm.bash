# bin/sweep.sh --slurm: the sweep as jobs of Slurm. Data are made here, where there is a network; a first job makes the
# base model, the checks and the hardware plan; arrays train and evaluate, each task a group of runs; a last job writes
# results and summary. py/slurm_tasks.py knows what is missing, bin/slurm.sh is what the jobs run.
# shellcheck shell=bash disable=SC2034 # AT_EXIT is process.bash's

SLURM_FOLDER='' # scripts, lists of tasks, logs of the jobs, jobs.json

# slurm_sweep: submit, wait, cancel or, of a dry run, print the scripts, as the flags say. Exits.
slurm_sweep() {
  local flags=" ${EXTRA_ARGS[*]} "
  SLURM_FOLDER=$LOGS_DIR/$SWEEP_NAME.slurm
  OVERLAP=0 # a task's GPU is for its training, then for its server
  write_settings "$FEWSHOT_SETTINGS"
  if ((DRY_RUN)); then
    submit_missing
    exit
  fi
  need slurm-client sbatch squeue scancel scontrol
  nothing_is_missing
  ensure_folder "$OBJS_DIR"
  ensure_folder "$SAVES_DIR"
  ensure_folder "$SLURM_FOLDER"
  begin_submission
  if [[ $flags == *' --cancel '* ]]; then
    cancel_jobs
    exit
  fi
  submit_missing
  end_submission
  exec 9>&-
  [[ $flags != *' --wait '* ]] || wait_for_jobs
  exit
}

# begin_submission: one at a time, on this machine by the lock, from other login nodes by a link, which is made at once
# or not at all.
begin_submission() {
  local holder
  lock_outputs
  until ln -s -- "$HOSTNAME:$$" "$SLURM_FOLDER/submitting" 2>/dev/null; do
    holder=$(readlink -- "$SLURM_FOLDER/submitting") || continue
    [[ ${holder%:*} == "$HOSTNAME" ]] || # its lock would be held
      die "this sweep is being submitted by process ${holder##*:} on ${holder%:*}; wait for it, or where it is gone: rm '$SLURM_FOLDER/submitting'"
    rm -f -- "$SLURM_FOLDER/submitting"
  done
  AT_EXIT=end_submission
}

end_submission() {
  rm -f -- "$SLURM_FOLDER/submitting"
  AT_EXIT=''
}

# trainers: each training's run, how many words its command has, and the words, with zero bytes between.
# Nothing before there is a hardware plan, which decides some of them.
trainers() (
  [[ $FEWSHOT_SETTINGS == *.planned ]] || exit 0
  read_settings "$FEWSHOT_SETTINGS"
  # shellcheck source=../train.sh
  source bin/train.sh
  list_runs trainings 1
  for run in "${RUNS[@]}"; do
    command_of "$run"
    printf '%s\0' "$run" "${#COMMAND[@]}" "${COMMAND[@]}"
  done
)

# submit_missing: everything that is neither done nor in the queue.
submit_missing() {
  local settled line planned=() fields part jobs=() most prepare='' dry=() submitted=() total=0 by=$FEWSHOT_SETTINGS.planned
  declare -A lists=() active=()
  settled=$(tasks_for settle) || exit
  [[ $settled != kept || ! -f $by ]] || read_settings "$by"
  if ((DRY_RUN)); then
    dry=(--dry-run)
  else
    settle_outputs "$settled"
  fi
  mapfile -t planned < <(
    [[ ! -f $by ]] || export FEWSHOT_SETTINGS=$by
    trainers | tasks_for plan "${dry[@]}" && echo end
  )
  rm -f -- "$by"
  [[ " ${planned[*]} " == *' end ' ]] || exit 2
  for line in "${planned[@]}"; do
    IFS=$'\t' read -r -a fields <<<"$line"
    case ${fields[0]} in
    active) active[${fields[2]}]+=" ${fields[1]}" ;;
    task)
      lists[${fields[1]}]+="${fields[2]}"$'\t'"${fields[3]}"$'\n'
      total=$((total + 1))
      ;;
    missing) [[ ${fields[1]} != 0 || -n ${active[*]-} || ! -f $OBJS_DIR/$SWEEP_NAME/results.json ]] || {
      say "sweep $SWEEP_NAME: all runs are done; nothing to submit"
      return
    } ;;
    esac
  done
  if ((total == 0)) && [[ -n ${active[results]-} ]]; then
    say "sweep $SWEEP_NAME: nothing to submit; in the queue: $(in_queue)"
    return
  fi
  prepare=${active[prepare]-}
  if ((total > 0)) && [[ -z $prepare && (-z $KV_CACHE_BYTES || (-n $MODEL_SCRIPT && ! -d $MODEL)) ]]; then
    submit prepare "$DEVICE" '' ''
    prepare=$JOB
  fi
  read -r -a jobs <<<"${active[models]-} ${active[methods]-}"
  most=$(largest_array)
  for part in models methods; do
    [[ -z ${lists[$part]-} ]] || submit_arrays
  done
  ((${#jobs[@]} > 0)) || read -r -a jobs <<<"$prepare"
  # The new ones come after the last task; those of before would be too early.
  for line in ${active[results]-}; do scancel --state=PENDING "$line" && jobs+=("$line"); done
  line=$(printf ':%s' "${jobs[@]}")
  submit results cpu '' "${jobs:+afterany$line}" "$(date +%s)"
  ((DRY_RUN)) || say "sweep $SWEEP_NAME: submitted: $(printf '%s, ' "${submitted[@]}" | sed 's/, $//')"
}

in_queue() {
  local part
  for part in "${!active[@]}"; do printf '%s%s ' "$part" "${active[$part]}"; done
}

# settle_outputs kept|new: the data; and, with other settings than before, nothing of an earlier submission.
settle_outputs() {
  export FEWSHOT_OUTCOMES=$LOGS_DIR/$SWEEP_NAME.outcomes
  tasks_for release
  if [[ $1 == new ]]; then
    rm -f -- "$SLURM_FOLDER/jobs.json"
    keep_settings
    begin_outcomes
    AT_EXIT=end_submission
  elif [[ -n $(tasks_for ids) ]]; then
    return 0 # they read the data
  fi
  mkdir -p -- "$FEWSHOT_OUTCOMES"
  rm -f -- "$OBJS_DIR/$SWEEP_NAME"/summary.{json,txt}
  step data bin/build_data.sh
}

# submit_arrays: submit_missing's part, in arrays of at most $most tasks. With SLURM_MAX_RUNNING one comes after the other.
submit_arrays() {
  local lines first count file after limit=${SLURM_MAX_RUNNING:+%$SLURM_MAX_RUNNING} device=cpu before='' stamp
  [[ $part != models ]] || device=$DEVICE
  mapfile -t lines <<<"${lists[$part]%$'\n'}"
  printf -v stamp '%(%Y%m%d-%H%M%S)T' -1
  for ((first = 0; first < ${#lines[@]}; first += most)); do
    count=$((${#lines[@]} - first < most ? ${#lines[@]} - first : most))
    file=$SLURM_FOLDER/$part-$stamp-$first.tasks
    ((DRY_RUN)) || printf '%s\n' "${lines[@]:first:count}" >"$file"
    after=${prepare:+afterok:${prepare# }}
    [[ -z $limit || -z $before ]] || after+=${after:+,}afterany:$before
    submit "$part" "$device" "0-$((count - 1))$limit" "$after" "$file"
    before=$JOB jobs+=("$JOB")
  done
}

# submit PART gpu|cpu TASKS DEPENDENCY ARGUMENT...: sbatch it, note it, set JOB; of a dry run, print its script.
submit() {
  local script
  script=$(job_script "$@")
  if ((DRY_RUN)); then
    JOB="<$1>"
    printf '%s\n\n' "$script"
    return
  fi
  script+=$'\n'
  [[ $1 != results ]] || export ON_FINISH # which no file holds
  JOB=$(env -u FEWSHOT_FAMILY -u FEWSHOT_OUTCOME sbatch --parsable 9>&- <<<"$script") || die "sbatch refused the job '$1'; its arguments are SLURM_ARGS='$SLURM_ARGS' SLURM_CPU_ARGS='$SLURM_CPU_ARGS'"
  JOB=${JOB%%;*}
  printf '%s' "$script" >"$SLURM_FOLDER/$1-$JOB.sh"
  tasks_for note "$JOB" "$1" ${3:+"$5"}
  submitted+=("$1 $JOB${3:+ ($3)}")
}

# job_script PART gpu|cpu TASKS DEPENDENCY ARGUMENT...
job_script() {
  local logs=$LOGS_DIR arguments=$SLURM_ARGS id=%j
  [[ $logs == /* ]] || logs=$ROOT/$logs
  [[ -z $3 ]] || id=%A_%a
  [[ $2 == gpu || -z $SLURM_CPU_ARGS ]] || arguments=$SLURM_CPU_ARGS
  printf '#!/bin/bash\n'
  printf '#SBATCH %s\n' "--job-name=$SWEEP_NAME-$1" "--output=\"${logs//%/%%}/$SWEEP_NAME.slurm/$1-$id.log\"" \
    --open-mode=append --nodes=1 --ntasks=1 --requeue --signal=B:TERM@60
  [[ -z $3 ]] || printf '#SBATCH --array=%s\n' "$3"
  [[ $2 != gpu ]] || printf '#SBATCH --gres=gpu:%s\n' "$SLURM_GPUS"
  [[ -z $4 ]] || printf '#SBATCH --dependency=%s --kill-on-invalid-dep=yes\n' "$4"
  [[ -z $arguments ]] || printf '#SBATCH %s\n' "$arguments"
  printf 'export FEWSHOT_SETTINGS=%q FEWSHOT_OUTCOMES=%q FEWSHOT_VENV=%q\n' \
    "$logs/${SETTINGS_OF-$SWEEP_NAME}.settings.json" "$logs/$SWEEP_NAME.outcomes" "$VENV"
  printf 'cd %q && exec %sbash -p bin/slurm.sh %s\n' "$ROOT" "${SLURM_CONTAINER:+$SLURM_CONTAINER }" "$(quoted_words "$1" "${@:5}")"
}

# largest_array: how many tasks one array may have.
largest_array() {
  local found
  found=$(scontrol show config 2>/dev/null | sed -nE 's/^MaxArraySize *= *([0-9]+)/\1/p') || true
  printf '%s' "$((${found:-1001} - 1))"
}
