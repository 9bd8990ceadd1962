#!/usr/bin/env bats
# The fault matrix, SERVER=vllm: one server for two sizes, which are asked at once by a process each.

load helpers/faults
load helpers/one_server

setup() {
  setup_faults
  one_server
  setting SIZES='(4 8)'
  export RECORD_SIZES='4 8'
}
setup_file() { undisturbed one-server; }

# enter_one PHASE: as enter, with the server of all sizes.
enter_one() {
  before "$1"
  case $1 in
  training)
    setting OVERLAP=1 # the server starts meanwhile
    plan train-4 midway
    begin 'train 4'
    ;;
  'server start')
    plan serve-all wait
    begin 'api all'
    ;;
  evaluation)
    plan serve-all held=5
    begin 'api all'
    ;;
  esac
}

fault 'with one server for all: SIGKILL of the sweep' 'training, server start, evaluation' one_sweep_killed
one_sweep_killed() {
  enter_one "$1"
  kill_sweep
  patiently nothing_runs
  recovers
}

fault 'with one server for all: TERM' 'server start, evaluation' one_signalled
one_signalled() {
  enter_one "$1"
  signal TERM
  ended 143
  DONE=some recovers # the one that was not being answered may have ended
}

# one_ends PHASE PROCESS: the sweep ends as if it had not been killed.
fault 'with one server for all: SIGKILL of the server' evaluation one_ends server.py
fault 'with one server for all: SIGKILL of one evaluator' evaluation one_ends 'py/eval.py demo-llm_train_4 --at'
one_ends() {
  enter_one "$1"
  kill_the "$2"
  finished
  said 'starting a new server (1 of 2) for '
  as_undisturbed
  once
}

fault 'with one server for all: server hangs' evaluation one_hangs
one_hangs() {
  before "$1"
  export RETRIES=0
  setting REQUEST_TIMEOUT=5
  setting CONCURRENCY=8
  plan serve-all hang=5 ok
  script sweep.sh
  said 'no answer within 5 s' 'starting a new server (1 of 2) for '
  as_undisturbed
  once
}

fault 'with one server for all: port shared with one that answers all' 'server start' one_robbed shared=open "port PORT is another program's, not our server's"
fault 'with one server for all: port stolen in the middle' evaluation one_robbed robbed=5 'starting a new server (1 of 2)'
one_robbed() {
  before "$1"
  plan serve-all "$2"
  script sweep.sh
  status_is 0
  said "${3/PORT/$PORT}" "port $PORT is in use; taking $((PORT + 1))"
  end_thieves
  patiently eval "! listens $PORT"
  as_undisturbed
  once
}
