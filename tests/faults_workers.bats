#!/usr/bin/env bats
# The fault matrix, TRAIN_JOBS and EVAL_JOBS: two sizes at once, each by a program of its own.

load helpers/faults

setup() {
  setup_faults
  setting SIZES='(4 8)'
  setting TRAIN_JOBS=2
  setting EVAL_JOBS=2
  export RECORD_SIZES='4 8'
}
setup_file() { undisturbed workers; }

# enter_both PHASE: a sweep is in the middle of the phase with both sizes.
enter_both() {
  before "$1"
  local step=train
  if [[ $1 == training ]]; then
    plan train-4 midway
    plan train-8 midway
  else
    step=api
    plan api-4 held=3
    plan api-8 held=3
  fi
  start sweep.sh
  reached_both "$step 4" "$step 8"
}

fault 'two sizes at once: SIGKILL of the sweep' 'training, evaluation' both_sweep_killed
both_sweep_killed() {
  enter_both "$1"
  kill_sweep
  patiently nothing_runs
  no_port
  recovers
}

fault 'two sizes at once: SIGKILL of the step' 'training, evaluation' both_step_killed
both_step_killed() {
  enter_both "$1"
  if [[ $1 == training ]]; then kill_the bin/train.sh; else kill_the bin/eval.sh; fi
  finished
  status_is 137
  patiently nothing_runs
  no_port
  recovers
}

fault 'two sizes at once: TERM' 'training, evaluation' both_signalled
both_signalled() {
  enter_both "$1"
  signal TERM
  ended 143
  no_port
  recovers
}

fault 'two sizes at once: SIGKILL of one program' 'training, evaluation' one_killed
one_killed() {
  before "$1"
  if [[ $1 == training ]]; then
    plan train-4 midway
    begin 'train 4'
  else
    plan api-4 held=3
    begin 'api 4'
  fi
  if [[ $1 == training ]]; then kill_the 'py/train.py demo-llm_train_4 '; else kill_the 'py/eval.py demo-llm_train_4 '; fi
  finished
  no_port
  if [[ $1 == training ]]; then
    status_is 1
    said 'training failed: size 4'
    DONE=8 recovers
  else # another one goes on with the answers that were kept
    as_undisturbed
    once
  fi
}

# no_port: nor does the second server.
no_port() { ! listens $((PORT + 1)) || fail "something listens on port $((PORT + 1))"; }
