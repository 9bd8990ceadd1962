#!/usr/bin/env bats
# The fault matrix, SIGKILL: of the sweep, of each of its parts, of everything at once.

load helpers/faults
status=''

fault 'SIGKILL of the sweep' "$EVERYWHERE" sweep_killed
sweep_killed() {
  LATER=gone enter "$1"
  kill_sweep
  patiently nothing_runs # the kernel told the step, which ended what it had started
  recovers
}

fault 'SIGKILL of the sweep, the rerun at once' 'data, training, server start, evaluation, results' sweep_killed_rerun_at_once
sweep_killed_rerun_at_once() {
  enter "$1"
  kill_sweep
  script sweep.sh
  if ((status != 0)); then # what the first one started may still be ending; that is said, and harms nothing
    said 'another '
    patiently nothing_runs
    undamaged
    script sweep.sh
  fi
  patiently nothing_runs
  as_undisturbed
  once
}

fault 'SIGKILL of a step of the sweep' "$EVERYWHERE" step_killed
step_killed() {
  local step
  case $1 in
  data) step=build_data.sh ;;
  'base model') step=base_model.sh ;;
  training) step=train.sh ;;
  results) step=results.sh ;;
  *) step=eval.sh ;;
  esac
  enter "$1"
  kill_the "bin/$step"
  finished
  status_is 137
  patiently nothing_runs
  recovers
}

# killed PHASE PROCESS STATUS: the sweep goes on and ends with STATUS.
killed() {
  enter "$1"
  kill_the "$2"
  finished
  status_is "$3"
  recovers
}
fault 'SIGKILL of the data builder' data killed_held build_data.py
fault 'SIGKILL of the trainer' 'base model, training' killed trainer.py 1
fault 'SIGKILL of the server' 'server start' killed server.py 1
fault 'SIGKILL of the server' evaluation killed server.py 0
fault 'SIGKILL of the program that trains' training killed py/train.py 1
fault 'SIGKILL of the evaluator' 'server start, evaluation' killed py/eval.py 0
fault 'SIGKILL of the drawing of the results' results killed_held see_results.py

# killed_saving PHASE FILE TIMES TEXT: the sweep, or VICTIM alone, is killed when the trainer has written FILE; the rerun
# says TEXT, and in all a trainer was started so many TIMES.
killed_saving() {
  before "$1"
  plan train-4 "held=$2"
  begin 'train 4'
  if [[ -n ${VICTIM-} ]]; then
    kill_the "$VICTIM"
    finished
    status_is 1
  else
    kill_sweep
    patiently nothing_runs
  fi
  recovers
  said "$4"
  equal "$3" "$(calls | grep -o 'train 4' | wc -l)"
}
fault 'SIGKILL of the sweep, the trainer is saving' training killed_saving adapter_model.safetensors 2 \
  'demo-llm_train_4: it ended in the middle of saving, without a checkpoint'
ENDED='size 4: its training had ended before it could be recorded'
fault 'SIGKILL of the sweep, the trainer has saved all' training killed_saving trainer_state.json 1 "$ENDED"
fault 'SIGKILL of the trainer that has saved all' training trainer_killed_saving
trainer_killed_saving() { VICTIM=trainer.py killed_saving "$1" training_loss.png 1 "$ENDED"; }

# killed_held PHASE SCRIPT: the same for a script of ours that was stopped before its first line: the step ends with it.
killed_held() {
  enter "$1"
  kill_the "py/$2"
  finished
  status_is 137
  recovers
}

fault "SIGKILL of a record's writer" 'data, training, evaluation, results' writer_killed
writer_killed() {
  write_held "$1"
  kill_the "$WRITER"
  finished
  ((status != 0)) || [[ $1 == evaluation ]] || fail 'it ended with 0'
  recovers
}

fault 'power cut (all processes at once)' "$EVERYWHERE" power_cut enter
fault 'power cut while a record is written' 'data, training, evaluation, results' power_cut write_held
power_cut() {
  local pids
  "$2" "$1"
  disown "$STARTED"
  pids=$(left)
  # shellcheck disable=SC2086 # numbers
  kill -KILL $pids
  status=killed
  patiently nothing_runs
  recovers
}

fault 'SIGKILL of the sweep, a child is deaf to TERM' 'training, server start' sweep_killed_deaf
sweep_killed_deaf() {
  deaf "$1"
  kill_sweep
  patiently nothing_runs
  recovers
}

fault 'SIGKILL of a step, a child is deaf to TERM' 'training, server start' step_killed_deaf
step_killed_deaf() {
  deaf "$1"
  case $1 in
  training) kill_the bin/train.sh ;;
  'server start') kill_the bin/eval.sh ;;
  esac
  finished
  status_is 137
  patiently nothing_runs
  recovers
}
