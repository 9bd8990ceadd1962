#!/usr/bin/env bats
# bin/sweep.sh --slurm, on a real Slurm of two nodes on this machine (helpers/cluster.bash). What happens to its jobs is
# in faults_slurm.bats.

load helpers/common
load helpers/processes
load helpers/cluster
load helpers/one_server

setup_file() {
  NO_CLUSTER=$(cluster_is_possible) || {
    export NO_CLUSTER
    return 0
  }
  unset NO_CLUSTER
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
  export PLOTS=0
}
teardown() {
  [[ -n ${NO_CLUSTER-} ]] || scancel --quiet --user=root 2>/dev/null || true
  end_leftovers
}

# script_of PART: its script in the output of a dry run.
script_of() { sed -n "/^#SBATCH --job-name=demo-$1\$/,/^\$/p" <<<"$output"; }

# alone_and_by_jobs [NAME] [--real]: the same sweep on this machine, then by jobs; every record but timings is the same.
alone_and_by_jobs() {
  script sweep.sh
  status_is 0
  mkdir "$WORK/alone"
  mv -- "$WORK/data" "$WORK/saves" "$OBJS" "$LOGS" "$WORK/alone/"
  script sweep.sh --slurm --wait
  status_is 0
  said "sweep ${1-demo}: submitted: prepare "
  "$STUB_PYTHON" "$PROJECT/tests/helpers/same_records.py" "${@:2}" "$WORK/alone" "$WORK"
  equal '' "$(find "$WORK/saves" "$OBJS" -name '*.claim*')"
}

@test "--dry-run prints the scripts and writes nothing; arrays are no larger than the cluster's, and wait for each other" {
  setting DEVICE=gpu
  setting SEEDS='(42 43 44)'
  SLURM_ARGS='--partition=all --time=60' SLURM_CPU_ARGS='--time=9' SLURM_MAX_RUNNING=2 SLURM_GPUS=2 SLURM_CONTAINER='apptainer exec x.sif' \
    script sweep.sh --slurm --dry-run
  status_is 0
  [[ ! -e $OBJS && ! -e $LOGS && ! -e $WORK/data ]]
  equal "#SBATCH --job-name=demo-models
#SBATCH --output=\"$LOGS/demo.slurm/models-%A_%a.log\"
#SBATCH --open-mode=append
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#SBATCH --array=0-2%2
#SBATCH --gres=gpu:2
#SBATCH --dependency=afterok:<prepare> --kill-on-invalid-dep=yes
#SBATCH --partition=all --time=60" "$(script_of models | sed '/^export/,/^$/d' | head -n 11)"
  # 3 adapters of 8 examples alone, those of 4 in pairs: 5 tasks.
  said '#SBATCH --array=0-1%2' '#SBATCH --dependency=afterok:<prepare>,afterany:<models> --kill-on-invalid-dep=yes'
  [[ $(script_of methods) == *'#SBATCH --time=9'* && $(script_of methods) != *gres* ]]
  said " && exec apptainer exec x.sif bash -p bin/slurm.sh models "
  [[ $(script_of results) == *'--dependency=afterany:<models>:<models>:<methods> '* ]]
}

@test "by jobs every record is what it is on one machine; again there is nothing to submit; then only what is new" {
  alone_and_by_jobs
  said 'models ' '(0-2)' 'methods ' '(0-0)' '8 of 8 runs done' "report.html"
  script sweep.sh --slurm
  status_is 0
  said 'sweep demo: all runs are done; nothing to submit'
  script sweep.sh --dry-run
  said 'training of size 8, seed 43: done' 'evaluation of size 8, seed 43: done' 'evaluation of tfidf, size 4: done'

  rm "$OBJS/demo-tfidf_8.json"
  script sweep.sh --slurm --sizes '4 8 16' --dry-run
  status_is 0
  said '#SBATCH --array=0-1' '#SBATCH --array=0-0'
  script sweep.sh --slurm --wait
  status_is 0
  said 'submitted: methods ' '8 of 8 runs done'
  not_said 'prepare' 'models'
}

@test "with GPUs: each task has its own, and a server for its group" {
  one_server
  setting SEEDS='(42)'
  setting METHODS="'lora zero-shot'"
  setting ADAPTER_CHECK=1
  script sweep.sh --slurm --wait
  status_is 0
  said 'models ' '(0-1)' '3 of 3 runs done'
  # One GPU a task, as Slurm gave it; the server of each has a log of its own.
  equal 2 "$(sed -nE 's/^(CUDA_VISIBLE_DEVICES=[01]) .* serve .*/\1/p' "$STUB/calls" | wc -l)"
  equal 2 "$(find "$LOGS" -name 'demo.*_[01].server.log' | wc -l)"
  evaluated 8
  evaluated zero-shot
}

@test "MODELS: the jobs of each model's sweep, and one that compares them; --cancel" {
  : >"$SETTINGS_FILE"
  export BASE_TEXTS=40 DATA_DIR=$WORK/data SAVES_DIR=$WORK/saves LOGS_DIR=$LOGS OBJS_DIR=$OBJS SIZES=4
  export TRAIN_FILE=$WORK/rows.csv SWEEP_NAME=both SKIP_PREFLIGHT=1 METHODS='lora tfidf'
  script sweep.sh --slurm --wait --models tiny tiny-deep
  status_is 0
  said 'sweep both-tiny: submitted: prepare ' 'sweep both-tiny-deep: submitted: prepare ' 'sweep both: submitted: comparison ' \
    'sweep both-tiny: 2 of 2 runs done' 'sweep both-tiny-deep: 1 of 1 runs done'
  [[ -s $SAVES_DIR/tiny/base/config.json && -s $SAVES_DIR/tiny-deep/base/config.json && -s $OBJS/both/results.json ]]

  plan train-8 wait wait
  SIZES=8 script sweep.sh --slurm --models tiny tiny-deep
  status_is 0
  reached_both 'train 8' 'train 8'
  SIZES=8 script sweep.sh --slurm --models tiny tiny-deep --cancel
  status_is 0
  [[ -z $(squeue --noheader) ]]
  nothing_left
}

@test "another login node submits at the moment; settings change while jobs are queued; FORCE" {
  mkdir -p "$LOGS/demo.slurm"
  ln -s elsewhere:77 "$LOGS/demo.slurm/submitting"
  script sweep.sh --slurm
  status_is 2
  equal "error: this sweep is being submitted by process 77 on elsewhere; wait for it, or where it is gone: rm '$LOGS/demo.slurm/submitting'" "$output"
  ln -sfn -- "$HOSTNAME:1" "$LOGS/demo.slurm/submitting" # left by one that was killed here
  script sweep.sh --slurm --slurm-args --hold
  status_is 0
  [[ ! -L $LOGS/demo.slurm/submitting ]]
  script sweep.sh --slurm --epochs 5
  status_is 2
  said 'error: jobs of this sweep are in the queue, submitted with other settings (EPOCHS: 3.0 -> 5); wait for them'
  script sweep.sh --slurm --force
  status_is 2
  said 'error: FORCE=1 with --slurm: '
}

# bats test_tags=end_to_end
@test "tiny, for real: 2 sizes, 2 seeds, 2 methods by jobs are what they are on one machine" {
  [[ ${MATRIX-} == all ]] || skip 'with MATRIX=all: it takes 6 minutes'
  : >"$SETTINGS_FILE"
  export FEWSHOT_VENV=${STUB_PYTHON%/bin/python} SIZES='30 60' SEEDS='42 43' METHODS='lora tfidf' BASE_TEXTS=400 TEST_COUNT=40
  export DATA_DIR=$WORK/data SAVES_DIR=$WORK/saves LOGS_DIR=$LOGS OBJS_DIR=$OBJS
  alone_and_by_jobs tiny --real
}
