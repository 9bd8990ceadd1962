# The embedded profile: synthetic data and a small GLM that bin/base_model.sh pretrains once; a CPU is enough.
# shellcheck shell=bash disable=SC2034 # read by load_settings
MODEL=@saves/tiny/base
MODEL_SCRIPT=bin/base_model.sh
MODEL_NAME=tiny
TEMPLATE=glm4
METHODS='lora zero-shot tfidf embedding llm-embedding'
DEVICE=cpu
DATASET=synthetic-patents
VALID_COUNT=300
TEST_COUNT=300
LEARNING_RATE=5e-3
BATCH_SIZE=8
GRADIENT_ACCUMULATION=1
WARMUP_STEPS=0.1
LORA_RANK=16
LORA_ALPHA=32
PREPROCESSING_WORKERS=1
CHECKPOINTING=0
TRAIN_JOBS=2
BACKEND=huggingface
EVAL_JOBS=2
MAX_TOKENS=32
