# Where training and serving run, in which precision, and how they share the hardware.
# shellcheck shell=bash

GPUS=('') # as CUDA_VISIBLE_DEVICES names them; on a CPU that is empty

# choose_device: check that DEVICE is there, resolve PRECISION=auto, and set what the frameworks read.
choose_device() {
  # Nothing of a local model is asked of a hub, which behind a firewall would cost minutes of retries.
  if [[ -d $MODEL ]]; then export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} TRANSFORMERS_OFFLINE=1; fi
  if ((USE_MODELSCOPE_HUB)); then export USE_MODELSCOPE_HUB; fi
  # With small models two threads are slower than one, and several processes beat both.
  if [[ $DEVICE == cpu ]]; then
    export CUDA_VISIBLE_DEVICES='' OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
    [[ $BACKEND != vllm ]] || die "BACKEND=vllm needs a GPU; with DEVICE=cpu use BACKEND=huggingface"
    [[ $PRECISION != fp16 ]] || die "PRECISION=fp16 needs a GPU; with DEVICE=cpu use fp32 or bf16"
    [[ $PRECISION != auto ]] || PRECISION=fp32
    return
  fi
  [[ -z $WORKER ]] || return 0 # who started it has looked, chosen the precision, and given it one GPU
  local bf16=0 many out=(--out "$LOGS_DIR/hardware.json")
  ((DRY_RUN == 0)) || out=()
  # The sweep that this is a step of has looked (seconds of PyTorch).
  [[ -z ${FEWSHOT_HARDWARE-} ]] || out=(--known "$FEWSHOT_HARDWARE")
  many=$(python py/hardware.py "${out[@]}") || bf16=$?
  case $bf16 in
  0) bf16=bf16 ;;
  3) bf16=fp16 ;;
  4) die "profile $PROFILE needs a CUDA GPU and none is visible to PyTorch; check nvidia-smi (in a container: the NVIDIA Container Toolkit and the compose service's GPU reservation), or run the profile for a CPU: PROFILE=tiny bin/sweep.sh" ;;
  *) die "the GPU could not be examined (py/hardware.py ended with $bf16)" ;;
  esac
  # Those that the user chose, or all. A program of ours sees one: on several, llamafactory-cli would start a trainer a
  # GPU and multiply the global batch, and with it change the result.
  if [[ -n ${CUDA_VISIBLE_DEVICES-} ]]; then
    IFS=, read -r -a GPUS <<<"$CUDA_VISIBLE_DEVICES"
    ((${#GPUS[@]} == many)) ||
      die "CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES names ${#GPUS[@]} GPU(s), and PyTorch sees $many of them; compare with nvidia-smi -L"
  else
    GPUS=(0)
    for ((many--; many > 0; many--)); do GPUS+=("${#GPUS[@]}"); done
  fi
  export CUDA_VISIBLE_DEVICES=${GPUS[0]}
  [[ $PRECISION != auto ]] || PRECISION=$bf16
  [[ $PRECISION != bf16 || $bf16 == bf16 ]] || die "PRECISION=bf16 is asked for and this GPU has none; use PRECISION=auto"
  [[ $PRECISION != fp16 || $TEMPLATE != glm4* ]] || warn "GLM-4 overflows in fp16 (loss 0 or nan); use a GPU with bf16"
}

# What a plan decides: settings, and two values that are none: bytes of KV cache for a server beside trainers (0: what
# GPU_MEMORY leaves), and whether the server has the last GPU to itself.
PLANNED_SETTINGS=(MICRO_BATCH CHECKPOINTING QUANTIZATION TRAIN_JOBS OVERLAP GPU_MEMORY EAGER)
KV_CACHE_BYTES=0 SERVER_ALONE=0

# resolve_plan: give the PLANNED_SETTINGS that are `auto` a value, and KV_CACHE_BYTES and SERVER_ALONE. On a GPU
# py/plan.py decides and keeps its reasons in logs/<sweep>.plan.json; a dry run prints them. A sweep decides once, and
# its steps find that in FEWSHOT_PLAN. Sets PLAN, the lines NAME=VALUE.
resolve_plan() {
  local line name value how=(--out "$LOGS_DIR/$SWEEP_NAME.plan.json")
  ((DRY_RUN == 0)) || how=(--examine)
  if [[ -n ${FEWSHOT_PLAN-} ]]; then
    PLAN=$FEWSHOT_PLAN
  elif [[ $DEVICE == cpu ]]; then
    PLAN=$(printf '%s\n' MICRO_BATCH="$BATCH_SIZE" CHECKPOINTING=1 QUANTIZATION=none TRAIN_JOBS=1 OVERLAP=0 GPU_MEMORY=0.9 EAGER=1)
  else
    settings_as_flags
    PLAN=$(python py/plan.py "${FLAGS[@]}" "${how[@]}") ||
      die "no plan could be made for this hardware; the message above says why"
    ((DRY_RUN == 0)) || printf '%s\n' "$PLAN"
  fi
  while IFS= read -r line; do
    [[ $line =~ ^([A-Z_]+)=([0-9a-z.]+)($|\ ) ]] || die "not a line of a plan: $line"
    name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    # shellcheck disable=SC2034 # for train.sh and server.bash
    case $name in
    KV_CACHE_BYTES) KV_CACHE_BYTES=$value ;;
    SERVER_ALONE) SERVER_ALONE=$value ;;
    *) [[ ${!name} != auto ]] || printf -v "$name" '%s' "$value" ;;
    esac
  done <<<"$PLAN"
  for name in "${PLANNED_SETTINGS[@]}"; do [[ ${!name} != auto ]] || die "the plan has no $name"; done
}
