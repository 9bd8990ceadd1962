#!/usr/bin/env bash
# Summary: What the jobs of bin/sweep.sh --slurm run; not to be started by hand.
#
# Usage: bin/slurm.sh prepare
#        bin/slurm.sh models|methods FILE
#        bin/slurm.sh results SECONDS
#        bin/slurm.sh comparison FOLDER NAME...
#
# prepare: the base model, the preflight, the hardware plan. models, methods: of an array, the task's line of FILE: which
# scripts, for which runs. results: the results and the summary of what was submitted at SECONDS since the epoch. comparison: with MODELS,
# the results of the first model's sweep and those of NAME together.
#
# On TERM, which Slurm sends 60 s before the time limit and when it preempts, it ends what it has started, and asks for
# another start, in which everything goes on where it was.
#
# Exit status: 0 done, 1 some runs failed, 2 something for you to mend, 143 ended by Slurm.

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

MOST_STARTS=100 # of a time limit that is too short for any progress there must be an end

prepare() {
  preflight
  [[ -z $MODEL_SCRIPT ]] || step 'base model' "$MODEL_SCRIPT"
  preflight --after-data
  plan_for_hardware
  # Written once, for all servers.
  [[ $SERVER != vllm ]] || run_child 'the chat template' python py/chat_template.py
}

# task FILE: one that fails stops no other; the summary tells.
task() {
  local scripts words status failed=0
  IFS=$'\t' read -r scripts FEWSHOT_RUNS < <(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "$1") || die "$1 has no line for task $SLURM_ARRAY_TASK_ID"
  export FEWSHOT_RUNS
  say "runs: $FEWSHOT_RUNS"
  while IFS= read -r -d, scripts; do
    read -r -a words <<<"$scripts"
    status=0
    start_script "bin/${words[0]}.sh" "bin/${words[0]}.sh" "${words[@]:1}"
    wait_group "$GROUP" || status=$?
    ((status <= 1)) || exit "$status"
    ((status == 0)) || failed=1
  done <<<"$scripts,"
  exit "$failed"
}

results() {
  local status=0
  : "${ON_FINISH:=}" # the environment of the submission may not have come along
  # shellcheck disable=SC2034 # for sweep.bash
  BEGUN=$1 AT_EXIT=summarize
  step results bin/results.sh || status=$?
  # When runs have failed, that is what this ends with, even if there is no result to show.
  [[ -z $(python py/slurm_tasks.py unfinished) ]] || exit 1
  exit "$status"
}

comparison() { run_child 'the results of all models' python py/see_results.py --run "${@:2}" --out "$1"; }

# start_again STATUS: when Slurm has ended this start of the job, but not the job.
start_again() {
  (($1 == 143 && ${SLURM_RESTART_COUNT:-0} < MOST_STARTS)) || return 0
  [[ $(squeue --noheader --format='%T %B' --jobs="$SLURM_JOB_ID") == "RUNNING $SLURMD_NODENAME" ]] || return 0
  say "asking for another start"
  scontrol requeue "$SLURM_JOB_ID"
}

main() {
  local part=${1-}
  [[ $part == @(prepare|models|methods|results|comparison) ]] || begin_script "$0" "$@"
  [[ -n ${SLURM_JOB_ID-} ]] || die "this is for the jobs of bin/sweep.sh --slurm"
  begin_script "$0"
  FEWSHOT_TASK=$SLURM_JOB_ID
  [[ -z ${SLURM_ARRAY_JOB_ID-} ]] || FEWSHOT_TASK=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  export FEWSHOT_TASK FEWSHOT_TASK_PID=$$
  own_children
  # shellcheck disable=SC2034 # for process.bash
  AT_EXIT=start_again
  say "job $FEWSHOT_TASK on ${SLURMD_NODENAME-$HOSTNAME}${SLURM_RESTART_COUNT:+, started again}"
  if [[ $part == @(models|methods) ]]; then task "$2"; else "$part" "${@:2}"; fi
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
