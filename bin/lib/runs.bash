# The runs of a sweep, and the pool that works on some of them at once: one that fails does not stop the others.
# shellcheck shell=bash

# Filled by list_runs: the names in the order in which they are worked on, what messages call them, and what commands
# need of each (- where the base model has none).
RUNS=()
declare -A TITLE_OF=() SIZE_OF=() SEED_OF=() DATASET_OF=() ADAPTER_OF=()

# list_runs trainings|evaluations JOBS: names and paths are made in one place (py/fewshot_sft/runs.py). With several JOBS
# the largest come first: started last, they would run alone at the end.
list_runs() {
  local lines run title size seed dataset adapter order=()
  (($2 == 1)) || order=(--largest-first)
  lines=$(python py/list_runs.py "$1" "${order[@]}") || exit
  RUNS=()
  while IFS=$'\t' read -r run title size seed dataset adapter; do
    [[ -n $run ]] || break # there are none, as with METHODS=tfidf
    RUNS+=("$run")
    # shellcheck disable=SC2034 # for the scripts
    TITLE_OF[$run]=$title SIZE_OF[$run]=$size SEED_OF[$run]=$seed DATASET_OF[$run]=$dataset ADAPTER_OF[$run]=$adapter
  done <<<"$lines"
}

# inputs_are_there: said once here, not for every run.
inputs_are_there() {
  ((DRY_RUN == 0)) || return 0
  [[ -f $DATA_DIR/manifest.json ]] || die "$DATA_DIR: there is no data; make it with bin/build_data.sh"
  [[ $MODEL != [./~]* && $MODEL != "$SAVES_DIR"/* || -d $MODEL ]] ||
    die "MODEL=$MODEL: no such folder${MODEL_SCRIPT:+; make it with $MODEL_SCRIPT}"
}

# revision_is_known: of a model on Hugging Face's hub; what was made by an unknown one could not be told from what is made
# by the next.
revision_is_known() {
  ((DRY_RUN == 0 && USE_MODELSCOPE_HUB == 0)) && [[ -z $MODEL_COMMIT ]] || return 0
  ! is_hub_name "$MODEL" ||
    die "MODEL=$MODEL: neither the cache nor the hub tells which revision it is; check the name, HF_TOKEN if it is gated, and the network (HF_ENDPOINT names a mirror)"
}

# makes_model_of PROFILE: die where MODEL is another than what this script makes.
makes_model_of() {
  local own=bin/${0##*/}
  [[ $MODEL_SCRIPT == "$own" ]] ||
    die "$own does not make MODEL=$MODEL; it makes that of the profile $1: $own --profile $1"
}

# each_run WHAT JOBS [--again]: for each of RUNS start the command that command_of RUN puts into COMMAND, JOBS at a time,
# each on the GPU that the fewest are on. With --again one whose program was killed is started once more. Then exit: 0
# all went well, 1 WHAT failed for some; of a dry run also 3, there is something to do.
each_run() {
  local -A running=() gpu_of=() killed=()
  local what=$1 jobs=$2 again=${3-} run todo=("${RUNS[@]}") gpu failed=() to_do=0
  while ((${#todo[@]} + ${#running[@]} > 0)); do
    if ((${#todo[@]} == 0 || ${#running[@]} == jobs)); then
      _reap
      continue
    fi
    run=${todo[0]} todo=("${todo[@]:1}")
    command_of "$run"
    gpu=$(_least_used_gpu)
    CUDA_VISIBLE_DEVICES=$gpu start_family "the $what of ${TITLE_OF[$run]}" "${COMMAND[@]}"
    running[$GROUP]=$run gpu_of[$GROUP]=$gpu
  done
  ((${#failed[@]} > 0)) || exit "$to_do"
  printf -v failed '%s; ' "${failed[@]}"
  say "$what failed: ${failed%; }"
  exit 1
}

# _reap: wait until one of each_run's has ended.
_reap() {
  local group='' status=0 run
  wait -n -p group "${!running[@]}" || status=$?
  stop_group "$group" || true
  run=${running[$group]}
  if [[ $status == 137 && $again == --again && ! -v killed[$run] ]]; then
    say "${TITLE_OF[$run]}: its $what was killed; starting it once more"
    killed[$run]=1 todo=("$run" "${todo[@]}") status=0
  fi
  case $status in
  0) ;;
  3) to_do=3 ;;
  *) failed+=("${TITLE_OF[$run]}") ;;
  esac
  unset "running[$group]" "gpu_of[$group]"
}

# _least_used_gpu: of GPUS, the first that the fewest of each_run's are on; nothing on a CPU.
_least_used_gpu() {
  local gpu count fewest='' best=''
  for gpu in "${GPUS[@]}"; do
    count=$(printf '%s\n' "${gpu_of[@]}" | grep -cxF -- "$gpu") || true
    if [[ -z $fewest || $count -lt $fewest ]]; then fewest=$count best=$gpu; fi
  done
  printf '%s' "$best"
}
