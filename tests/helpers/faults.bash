# The fault matrix: a sweep of one small size, disturbed in one of its phases, and what must be true afterwards.
# shellcheck shell=bash disable=SC2034 # most of what is set here is for the tests and for common.bash
# tests/helpers/fault_table.py makes the matrix of docs/reliability.md from the names that `fault` registers.

load helpers/common
load helpers/processes

setup_file() { undisturbed; }
setup() { setup_faults; }
setup_faults() {
  make_work
  setting SIZES='(4)'
  setting SKIP_PREFLIGHT=1
  setting STOP_TIMEOUT=5
  export PLOTS=0 RECORD_SIZES=4
}
teardown() {
  end_leftovers
  [[ -z ${DISK_PID-} ]] || kill -KILL "$DISK_PID" 2>/dev/null || true
}

# fault NAME PHASES FUNCTION ARGUMENT...: register one test for each of the PHASES, "data, training"; it calls FUNCTION
# PHASE ARGUMENT... The phases: data, base model, training, server start, evaluation, results, between runs.
fault() {
  local phases phase
  IFS=, read -r -a phases <<<"$2"
  # All of them take a quarter of an hour: without MATRIX=all each fault is injected in one of its phases, another one
  # from fault to fault.
  [[ ${MATRIX-} == all ]] || phases=("${phases[${#1} % ${#phases[@]}]}")
  for phase in "${phases[@]}"; do
    phase=${phase# }
    bats_test_function --description "$1 | $phase" --tags "fault,phase:${phase// /-}" -- "$3" "$phase" "${@:4}"
  done
}
EVERYWHERE='data, base model, training, server start, evaluation, results'

# undisturbed: the sweep that all are compared with, made once in a run of bats, or of bin/test.sh, whose files share the
# folder FAULTS_FOLDER. undisturbed NAME LINE...: another one, with these lines in its settings.
undisturbed() {
  UNDISTURBED=${FAULTS_FOLDER:-$BATS_RUN_TMPDIR}/undisturbed${1:+-$1}
  export UNDISTURBED
  (
    flock 8
    if [[ ! -d $UNDISTURBED ]]; then make_undisturbed "$@" 8>&-; fi
  ) 8>"$UNDISTURBED.lock"
}

make_undisturbed() {
  local BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR/undisturbed line
  local WORK STUB PORT ADAPTERS LOGS OBJS SETTINGS_FILE FEWSHOT_VENV AT GO status output
  rm -rf -- "$BATS_TEST_TMPDIR" "$UNDISTURBED.part"
  mkdir -p -- "$BATS_TEST_TMPDIR" "$UNDISTURBED.part"
  setup
  for line in "${@:2}"; do setting "$line"; done
  if [[ ${1-} == base ]]; then
    # What the pretraining begins with, 10 s of imports, is kept for the tests.
    plan train-base crash
    script sweep.sh
    status_is 1
    cp -r -- "$WORK/saves/tiny/init" "$UNDISTURBED.part/"
  fi
  script sweep.sh
  status_is 0
  all_evaluated
  cp -r -- "$WORK/data" "$WORK/saves" "$WORK/objs" "$UNDISTURBED.part/"
  mv -- "$UNDISTURBED.part" "$UNDISTURBED"
}

# before PHASE: everything that comes before it is done. Of what comes after it, in the first phases the undisturbed
# sweep's adapter and evaluation are there, to keep the tests short: they count only when what is built anew is the
# same, byte for byte. With LATER=gone they are not. The summary of an earlier night is there: none may take it for its own.
before() {
  local part
  PHASE=$1
  if [[ $1 == 'base model' ]]; then
    local base=(MODEL=@saves/tiny/base MODEL_SCRIPT=bin/base_model.sh MODEL_NAME=a_model BASE_TEXTS=20)
    for part in "${base[@]}"; do setting "$part"; done
    undisturbed base "${base[@]}"
  fi
  for part in data saves objs; do cp -r -- "$UNDISTURBED/$part" "$WORK/"; done
  rm -f -- "$OBJS/.sweep.lock"
  [[ $1 == 'between runs' ]] || find "$OBJS/demo" -type f ! -name 'summary.*' -delete
  case $1 in
  data) rm -r -- "$WORK/data" ;;
  'base model')
    rm -r -- "$WORK/saves/tiny/base"
    [[ ${LATER-} == gone ]] || cp -r -- "$UNDISTURBED/init" "$WORK/saves/tiny/"
    ;;
  training) rm -r -- "$WORK/saves" ;;
  'server start' | evaluation) no_evaluation ;;
  results | 'between runs') return ;;
  *) fail "no such phase: $1" ;;
  esac
  if [[ ${LATER-} == gone ]]; then
    no_evaluation
    [[ $1 != data && $1 != 'base model' ]] || rm -rf -- "$WORK"/saves/*/lora
  fi
}

no_evaluation() { find "$OBJS" -mindepth 1 -maxdepth 1 ! -name demo -exec rm -r -- {} +; }

# enter PHASE: start a sweep and wait until it is in the middle of the phase.
enter() {
  before "$1"
  case $1 in
  data) HOLD=build_data.py begin py/build_data.py ;;
  'base model')
    plan train-base wait
    begin 'train base'
    ;;
  training)
    plan train-4 midway
    begin 'train 4'
    ;;
  'server start')
    plan api-4 wait
    begin 'api 4'
    ;;
  evaluation)
    plan api-4 held=6 # the readiness probe's and five answers
    begin 'api 4'
    ;;
  results) HOLD=see_results.py begin py/see_results.py ;;
  esac
}

# deaf PHASE: a sweep is in the phase, with a trainer or a server that does not end on TERM.
deaf() {
  before "$1"
  setting STOP_TIMEOUT="${PATIENCE-1}"
  plan train-4 stubborn
  plan api-4 deaf
  case $1 in
  training) begin 'train 4' ;;
  'server start') begin 'api 4' ;;
  esac
}

# write_held PHASE: start a sweep and wait until the phase's last file is written, but not in its place. Sets WRITER.
write_held() {
  local file
  case $1 in
  data) file=manifest.json WRITER=py/build_data.py ;;
  training) file=demo-llm_train_4/training.json WRITER=py/train.py ;;
  evaluation) file=demo-llm_train_4.json WRITER=py/eval.py ;;
  results) file=demo/results.json WRITER=py/see_results.py ;;
  esac
  before "$1"
  HOLD_WRITE=/$file begin "writing /$file"
}

# begin PLACE: start a sweep and wait until it is there.
begin() {
  start sweep.sh
  reached "$1"
}

# kill_sweep: SIGKILL, to the sweep's own process alone.
kill_sweep() {
  disown "$STARTED"
  kill -KILL "$STARTED"
  status=killed
}

# records WHAT ARGUMENT...: tests/helpers/records.py about this test's folder.
records() { "$STUB_PYTHON" "$PROJECT/tests/helpers/records.py" "$1" "$WORK" "${@:2}"; }

# undamaged: after the fault, before anything else: no process, no port, no record of what was not measured, and a
# summary that tells the truth. DONE: the sizes that are done nevertheless. UNWRITTEN: see records.py.
undamaged() {
  nothing_left
  records measured
  records summary "$status" "$PHASE" "${DONE-}" "${UNWRITTEN-}"
}

# as_undisturbed: no lost and no doubled prediction, the same metrics, nothing done twice, nothing left.
as_undisturbed() {
  status_is 0
  nothing_left
  all_evaluated
  records same "${1-$UNDISTURBED}"
  records summary 0
}

all_evaluated() {
  local size
  for size in $RECORD_SIZES; do evaluated "$size"; done
}

# once: nothing that was finished was put aside, so that it would have been done again.
once() {
  local found
  found=$(find "$WORK/saves" "$OBJS" -path '*/replaced/*' \( -name training.json -o -path "$OBJS/*" \))
  [[ -z $found ]] || fail "done twice: $found"
}

# recovers: the common conclusion.
recovers() {
  undamaged
  script sweep.sh
  as_undisturbed
  once
}
