#!/usr/bin/env bats
# bin/sweep.sh --slurm, on a real Slurm of two nodes on this machine; a stubbed trainer and server.

load helpers/common
load helpers/processes
load helpers/cluster

setup_file() {
  local why
  why=$(cluster_is_possible) || {
    export NO_CLUSTER=$why
    return 0
  }
  start_cluster MaxArraySize=4
}
teardown_file() { end_cluster; }

setup() {
  [[ -z ${NO_CLUSTER-} ]] || skip "$NO_CLUSTER"
  make_work
  setting SIZES='(4 8)'
  setting SEEDS='(42 43)'
  setting METHODS="'lora tfidf'"
  setting SKIP_PREFLIGHT=1
  setting STOP_TIMEOUT=5
  export PLOTS=0
}
teardown() {
  [[ -n ${NO_CLUSTER-} ]] || scancel --quiet --user=root 2>/dev/null || true
  end_leftovers
}

@test "as jobs of a cluster" {
  script sweep.sh --slurm --dry-run
  echo "$output" >&3
  script sweep.sh --slurm --wait
  echo "$output" >&3
  tail -n 30 "$LOGS"/demo.slurm/*.log >&3
  status_is 0
}
