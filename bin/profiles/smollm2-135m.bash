# A real instruction model of 135 M parameters, which learns real texts on any machine, without a GPU and without a hub.
# shellcheck shell=bash disable=SC2034 # read by load_settings
MODEL=@saves/SmolLM2-135M-Instruct/base
MODEL_SCRIPT=bin/fetch_model.sh
MODEL_NAME=SmolLM2-135M-Instruct
TEMPLATE=smollm2
METHODS='lora zero-shot tfidf embedding llm-embedding'
DATASET=fancyzhx/ag_news
VALID_COUNT=200
TEST_COUNT=200
SIZES=(16 32 64 128)
LEARNING_RATE=1e-3
WARMUP_STEPS=0.1
LORA_RANK=16
LORA_ALPHA=32
MAX_TOKENS=16
BATCH_SIZE=8
GRADIENT_ACCUMULATION=1
if ! nvidia-smi -L >/dev/null 2>&1; then
  DEVICE=cpu
  BACKEND=huggingface
  CHECKPOINTING=0
  PREPROCESSING_WORKERS=1
  TRAIN_JOBS=2
  EVAL_JOBS=2
  TRAINER=fast
  TRAIN_ARGS='--shared_prefix True'
  if grep -qE 'avx512_bf16|amx_bf16' /proc/cpuinfo; then
    PRECISION=bf16
    SERVER_ARGS='--infer_dtype bfloat16'
  fi
fi
