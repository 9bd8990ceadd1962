#!/usr/bin/env bash
# Summary: Train one LoRA adapter for each size and seed.
#
# Usage: bin/train.sh [--dry-run] [--SETTING VALUE]...
#
# Runs `llamafactory-cli train` on llm_train_<N> for each N in SIZES and each of SEEDS, with the flags of the original's
# train.sh. Adapters go to saves/<model>/lora/<run>/, a log per run to logs/<run>.train.log. A run that was trained before
# with the same data, model, settings and versions is skipped; an interrupted one goes on from its last checkpoint.
#
# A run counts as trained only when the trainer had exactly N examples and its loss was finite and not zero. One that
# fails does not stop the others.
# Exit status: 0 all are trained, 1 some failed, 2 something for you to mend, 130/143/129 interrupted; with --dry-run also
# 3, there is something to do.

# In bash, whatever shell was asked; under its own name, whatever link was; without the caller's functions and options.
case ${BASH_VERSION:+$-} in *p*) ;; *)
  POSIXLY_CORRECT=1 # no function comes before unset and exec then
  unset -f readlink
  here=$(readlink -f -- "$0" 2>/dev/null) || here=$0
  exec "${BASH:-bash}" -p -- "$here" "$@"
  ;;
esac
set -Eeuo pipefail
# shellcheck source=lib/all.bash
source "${0%/*}/lib/all.bash"

# command_of RUN: beside the original's flags: --tokenized_path keeps the examples that the trainer really sees, to count
# them; --seed; --save_total_limit bounds the disk that checkpoints take.
command_of() {
  local size=${SIZE_OF[$1]} trainer=(llamafactory-cli train) optim=adamw_torch count_tokens=True dry=() precision=() how=()
  ((DRY_RUN == 0)) || dry=(--dry-run)
  [[ $PRECISION == fp32 ]] || precision=("--$PRECISION" True)
  # Without it the trainer refuses bf16 where there is no GPU.
  [[ $PRECISION == fp32 || $DEVICE == gpu ]] || precision+=(--use_cpu True)
  ((CHECKPOINTING)) || how+=(--disable_gradient_checkpointing True)
  [[ $QUANTIZATION == none ]] || how+=(--quantization_bit "$QUANTIZATION")
  ((EVAL_STEPS == 0)) || how+=(--eval_dataset llm_valid --eval_strategy steps --eval_steps "$EVAL_STEPS"
    --per_device_eval_batch_size "$MICRO_BATCH")
  if [[ $TRAINER == fast ]]; then
    # Beside training steps without logits, an evaluation's batch of them may not fit.
    ((EVAL_STEPS == 0)) || how[-1]=1
    # None of these changes what is learned: the same update in one kernel, and no wait for the GPU after each step only
    # to count tokens or to look for nan, which the watch does.
    trainer=(python py/fast_trainer.py) optim=adamw_torch_fused count_tokens=False how+=(--logging_nan_inf_filter False)
    ((SHARED_PREFIX == 0)) || how+=(--shared_prefix auto)
  fi
  split_words "$TRAIN_ARGS"
  # shellcheck disable=SC2034 # for each_run
  COMMAND=(python py/train.py "$1" "${dry[@]}" -- "${trainer[@]}"
    --stage sft --do_train True --model_name_or_path "$MODEL" ${MODEL_COMMIT:+--model_revision "$MODEL_COMMIT"}
    --preprocessing_num_workers "$PREPROCESSING_WORKERS"
    --finetuning_type lora
    --template "$TEMPLATE"
    --flash_attn auto
    --dataset_dir "$DATA_DIR"
    --dataset "${DATASET_OF[$1]}"
    --cutoff_len "$CUTOFF_LEN"
    --learning_rate "$LEARNING_RATE"
    --num_train_epochs "$EPOCHS"
    --max_samples "$((size > 100000 ? size : 100000))"
    --per_device_train_batch_size "$MICRO_BATCH"
    --gradient_accumulation_steps "$((BATCH_SIZE * GRADIENT_ACCUMULATION / MICRO_BATCH))"
    --lr_scheduler_type cosine --max_grad_norm 1.0
    --logging_steps "$LOGGING_STEPS"
    --save_steps "$SAVE_STEPS"
    --warmup_steps "$WARMUP_STEPS" --optim "$optim"
    --packing False --report_to none
    --output_dir "${ADAPTER_OF[$1]}"
    "${precision[@]}"
    --plot_loss True
    --ddp_timeout 180000000
    --include_num_input_tokens_seen "$count_tokens"
    --lora_rank "$LORA_RANK" --lora_alpha "$LORA_ALPHA" --lora_dropout 0
    --lora_target "$LORA_TARGET"
    --seed "${SEED_OF[$1]}"
    --save_total_limit 2
    --tokenized_path "${ADAPTER_OF[$1]}/tokenized"
    "${how[@]}" "${WORDS[@]}")
}

SCRIPT_FLAGS=(--dry-run)

main() {
  begin_script "$0" "$@"
  ensure_folder "$LOGS_DIR" && ensure_folder "$SAVES_DIR"
  inputs_are_there
  use_hardware
  own_children
  list_runs trainings "$TRAIN_JOBS"
  ((${#RUNS[@]} > 0)) || exit 0
  revision_is_known
  each_run training "$TRAIN_JOBS"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
