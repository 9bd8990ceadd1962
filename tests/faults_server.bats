#!/usr/bin/env bats
# The fault matrix: what a server may do that should answer. Each at its start, while the readiness probe asks, and in
# the middle of the evaluation.

load helpers/faults

# disturbed PHASE WHAT: the server answers so for a while, and then for good.
disturbed() {
  before "$1"
  export RETRIES=2
  setting CONCURRENCY=4
  case $1 in
  'server start')
    export IMPATIENT=1
    setting READY_TIMEOUT=2
    plan api-4 "$2=0-" "$2=0-1"
    script sweep.sh
    status_is 1
    said 'not ready after ' 'evaluation failed: size 4'
    undamaged
    [[ ! -e $OBJS/demo-llm_train_4.json ]] || fail 'it looks finished'
    setting READY_TIMEOUT=60
    script sweep.sh
    ;;
  evaluation)
    [[ $2 != nothing ]] || setting REQUEST_TIMEOUT=3
    plan api-4 "$2=3-4,7-" ok
    script sweep.sh
    said 'evaluation incomplete: ' 'size 4: starting a new server (1 of 2); answers so far are kept'
    ;;
  esac
  as_undisturbed
  once
}
fault 'server answers 500' 'server start, evaluation' disturbed 500
fault 'server answers 429' 'server start, evaluation' disturbed 429
fault 'server answers garbage' 'server start, evaluation' disturbed garbage
fault 'server sends half a body' 'server start, evaluation' disturbed half
fault 'server resets the connection' 'server start, evaluation' disturbed reset
fault 'server answers nothing' 'server start, evaluation' disturbed nothing

# ends PHASE BEHAVIOUR STATUS: one sweep in which the server does this.
ends() {
  before "$1"
  plan api-4 "$2"
  script sweep.sh
  status_is "$3"
  recovers
}
fault 'server ends by itself' 'server start' ends die 1
fault 'server ends by itself' evaluation ends die=5 0
fault 'server refuses (401)' evaluation ends refuse 1
fault 'server leaves a deaf child' 'server start' ends_with_child
ends_with_child() {
  setting STOP_TIMEOUT=1
  ends "$1" child 1
}

fault 'no server ever works' evaluation no_server
no_server() {
  before "$1"
  plan api-4 die=3 die=3 die=3
  script sweep.sh
  status_is 1
  said 'size 4: not evaluated after 3 server(s); run the same command again to go on'
  [[ ! -e $OBJS/demo-llm_train_4.json ]] || fail 'it looks finished'
  recovers
}

# stolen PHASE BEHAVIOUR...: the first servers lose the port to another program, whose answers count for nothing.
fault 'port stolen by a program with another key' 'server start' stolen stolen=key
fault 'port stolen by one that answers all, our server hangs on' 'server start' stolen outrun=open
fault 'port stolen by one that takes no connection, then by one that only has it' 'server start' stolen outrun=mute stolen=bound
fault 'port shared with one that answers all' 'server start' stolen shared=open
stolen() {
  before "$1"
  setting SERVER_RESTARTS=0
  plan api-4 "${@:2}"
  script sweep.sh
  status_is 0
  local port=$PORT
  for _ in "${@:2}"; do
    said "port $port is another program's, not our server's" "port $port is in use; taking $((++port))"
  done
  end_thieves
  patiently eval "! listens $PORT"
  evaluated 4
  recovers
}

fault 'port stolen in the middle, our server hangs on' evaluation robbed
robbed() {
  before "$1"
  setting CONCURRENCY=4
  plan api-4 robbed=5
  script sweep.sh
  status_is 0
  said "the server has lost its port: another program listens on port $PORT" 'starting a new server (1 of 2)'
  end_thieves
  patiently eval "! listens $PORT"
  evaluated 4
  recovers
}

# two_clones PHASE: sweeps of two copies of the project begin at the same moment, with the same first port.
fault 'two sweeps of two clones start at once' 'server start' two_clones
two_clones() {
  local each pids=() status output
  before "$1"
  for each in one other; do
    mkdir -- "$WORK/$each"
    cp -r -- "$PROJECT"/{bin,py,pyproject.toml,requirements.lock} "$WORK"/{data,saves} "$WORK/$each/"
  done
  for each in one other; do
    MARK="$BATS_TEST_TMPDIR" ADAPTER_CHECK=1 METHODS='lora zero-shot' LOGS_DIR="$WORK/$each/logs" OBJS_DIR="$WORK/$each/objs" \
      DATA_DIR="$WORK/$each/data" SAVES_DIR="$WORK/$each/saves" "$WORK/$each/bin/sweep.sh" >"$WORK/$each/output" 2>&1 3>&- &
    pids+=($!)
  done
  for each in one other; do
    status=0
    # shellcheck disable=SC2034 # for status_is
    wait "${pids[0]}" || status=$?
    pids=("${pids[@]:1}")
    # shellcheck disable=SC2034 # for not_said
    output=$(<"$WORK/$each/output")
    status_is 0
    not_said 'starting a new server'
    OBJS=$WORK/$each/objs evaluated zero-shot
    OBJS=$WORK/$each/objs evaluated 4
  done
  nothing_left
}

fault 'port in use before the start' 'server start' in_use
in_use() {
  before "$1"
  occupy "$PORT"
  script sweep.sh
  status_is 0
  said "port $PORT is in use; taking $((PORT + 1))"
  evaluated 4
  end_leftovers
  patiently eval "! listens $PORT"
  recovers
}
