#!/usr/bin/env bats
# The fault matrix: the sweep as jobs of a cluster, a real Slurm of two nodes on this machine.

load helpers/faults
load helpers/cluster

setup_file() {
  NO_CLUSTER=$(cluster_is_possible) || {
    export NO_CLUSTER
    return 0
  }
  unset NO_CLUSTER
  undisturbed
  start_cluster
}
teardown_file() { end_cluster; }

setup() {
  [[ -z ${NO_CLUSTER-} ]] || skip "$NO_CLUSTER"
  setup_faults
}
teardown() {
  [[ -n ${NO_CLUSTER-} ]] || empty_queue
  end_leftovers
}

empty_queue() {
  scancel --quiet --user=root 2>/dev/null || true
  patiently queue_is_empty
}
queue_is_empty() { [[ -z $(squeue --noheader) ]]; }

# in_jobs PHASE: submit, and wait until a task is in the middle of the phase. Sets TASK, as squeue names it.
in_jobs() {
  before "$1"
  case $1 in
  training) plan train-4 midway ;;
  evaluation) plan api-4 held=6 ;;
  esac
  script sweep.sh --slurm
  status_is 0
  reached "$([[ $1 == training ]] && echo 'train 4' || echo 'api 4')"
  # shellcheck disable=SC2154 # `script` has set it
  TASK=$(sed -nE 's/.*submitted: .*models ([0-9]+) .*/\1_0/p' <<<"$output")
}

# goes_on: the same command again, by jobs; it ends as the undisturbed sweep.
goes_on() {
  script sweep.sh --slurm --wait
  as_undisturbed
  once
  no_claims
}

no_claims() { equal '' "$(find "$WORK/saves" "$OBJS" -name '*.claim*')"; }
log_has() { grep -qF -- "$1" "$LOGS"/demo.slurm/models-*.log; }

fault 'on a cluster: scancel' 'training, evaluation' cancelled
cancelled() {
  in_jobs "$1"
  scancel "$TASK"
  patiently queue_is_empty
  nothing_left
  no_claims
  records measured
  goes_on
}

fault 'on a cluster: scontrol requeue' 'training, evaluation' requeued
requeued() {
  in_jobs "$1"
  scontrol requeue "$TASK"
  script sweep.sh --slurm --wait
  said 'nothing to submit; in the queue: '
  as_undisturbed
  once
  log_has ', started again'
  [[ $1 != training ]] || log_has 'size 4: resuming at step 2'
}

fault 'on a cluster: TERM before the time limit' 'training' out_of_time
out_of_time() {
  in_jobs "$1"
  scancel --batch --signal=TERM "$TASK"
  script sweep.sh --slurm --wait
  as_undisturbed
  once
  log_has 'asking for another start'
}

fault 'on a cluster: SIGKILL of slurmd, the task goes on' 'training' node_lost
node_lost() {
  [[ ${MATRIX-} == all ]] || skip 'with MATRIX=all: Slurm takes a minute to give a node up'
  local node
  in_jobs "$1"
  node=$(squeue --noheader --jobs="$TASK" --format=%B)
  kill_node "$node"
  # Slurm gives the node up and starts the task on the other one; the first one sees that and ends.
  script sweep.sh --slurm --wait
  start_node "$node"
  as_undisturbed
  once
  log_has 'the claim is another'"'"'s now; this task ends'
}

fault 'on a cluster: a task fails' 'training' task_fails
task_fails() {
  before "$1"
  plan train-4 crash
  script sweep.sh --slurm --wait
  status_is 1
  said 'ValueError: bad luck'
  goes_on
}

fault 'on a cluster: --cancel' 'evaluation' all_cancelled
all_cancelled() {
  in_jobs "$1"
  script sweep.sh
  status_is 2
  said 'error: jobs of this sweep are in the queue of the cluster; '
  script sweep.sh --slurm --cancel
  status_is 0
  queue_is_empty
  nothing_left
  no_claims
  records measured
  goes_on
}

fault 'on a cluster: two submissions at once' 'data' two_submissions
two_submissions() {
  before "$1"
  HOLD=build_data.py start sweep.sh --slurm
  reached py/build_data.py
  script sweep.sh --slurm
  status_is 2
  said "error: another sweep writes to $OBJS: process $STARTED, started "
  release
  patiently gone "$STARTED"
  goes_on
}
