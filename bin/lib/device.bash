# Where training and serving run, in which precision, and how they share the hardware.
# shellcheck shell=bash

# What py/plan.py finds out, beside the settings: GPUs as CUDA_VISIBLE_DEVICES names them (none on a CPU), bytes of KV
# cache for a server beside trainers (0: what GPU_MEMORY leaves), the rank that vLLM is started for, how it has to
# quantize the weights (empty: not), whether its front end is that in Rust and it captures CUDA graphs, the most tokens
# that a server takes, the commit of a model on Hugging Face's hub, which all that load it are told.
# shellcheck disable=SC2034 # for bin/eval.sh
GPUS=() KV_CACHE_BYTES='' MAX_LORA_RANK='' SERVER_QUANTIZATION='' RUST_FRONT=0 SERVER_GRAPHS=0 MODEL_LENGTH=4096 MODEL_COMMIT=''

# use_hardware [--known]: decide what is `auto`, unless the sweep that this is a part of has, and set what the frameworks
# read. With --known the GPUs are in logs/hardware.json.
use_hardware() {
  # Nothing of a local model is asked of a hub, which behind a firewall would cost minutes of retries.
  if [[ -d $MODEL ]]; then export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} TRANSFORMERS_OFFLINE=1; fi
  if ((USE_MODELSCOPE_HUB)); then export USE_MODELSCOPE_HUB; fi
  if [[ -z $KV_CACHE_BYTES ]]; then
    local how=("$@")
    ((DRY_RUN == 0)) || how=(--dry-run)
    run_child "the hardware plan" python py/plan.py "${how[@]}" || exit
    read_settings "$FEWSHOT_SETTINGS"
  fi
  ((DRY_RUN == 0)) || TRAIN_JOBS=1 EVAL_JOBS=1 # what it says is read from the top: one run after the other
  # On a CPU two threads are slower than one with small models, and several processes beat both. On a GPU the threads of
  # several trainers, which are as many as the host has cores for each and wait by spinning, take them from one another.
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  if [[ $DEVICE == cpu ]]; then
    export CUDA_VISIBLE_DEVICES=''
  else
    # The plan of a sweep's jobs is made in one of them: each has its own.
    [[ -z ${FEWSHOT_TASK-} ]] || IFS=, read -r -a GPUS <<<"${CUDA_VISIBLE_DEVICES-}"
    [[ -z ${FEWSHOT_RUNS-} ]] || SERVER_GRAPHS=0 # they pay where one server answers for all runs
    export CUDA_VISIBLE_DEVICES=${GPUS[0]-}
  fi
}
