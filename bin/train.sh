#!/usr/bin/env bash
# Summary: Train one LoRA adapter for each size.
#
# Usage: bin/train.sh [--SETTING VALUE]...
#
# Runs `llamafactory-cli train` on llm_train_<N> for each N in SIZES, with the flags of the seed's train.sh. Adapters
# go to saves/<model>/lora/<run>/, a log per size to logs/<run>.train.log. A size that was trained before with the
# same data, model, settings and versions is skipped; an interrupted one goes on from its last checkpoint.
#
# A size counts as trained only when the trainer had exactly N examples and its loss was finite and not zero.
# A size that fails does not stop the others.
#
# Exit status: 0 all sizes are trained, 1 some failed, 2 something for you to mend, 130/143/129 interrupted.

set -Eeuo pipefail
# shellcheck source=lib/all.bash
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.bash"

# train_command SIZE: fill TRAIN_COMMAND. Beside the seed's flags: --tokenized_path keeps the examples that the
# trainer really sees, to count them; --seed; --save_total_limit bounds the disk that checkpoints take.
train_command() {
  local folder precision=() extra
  folder=$(adapter_folder "$1")
  case $PRECISION in
  bf16) precision=(--bf16 True) ;;
  fp16) precision=(--fp16 True) ;;
  esac
  TRAIN_COMMAND=(llamafactory-cli train
    --stage sft
    --do_train True
    --model_name_or_path "$MODEL"
    --preprocessing_num_workers "$PREPROCESSING_WORKERS"
    --finetuning_type lora
    --template "$TEMPLATE"
    --flash_attn auto
    --dataset_dir "$DATA_DIR"
    --dataset "llm_train_$1"
    --cutoff_len "$CUTOFF_LEN"
    --learning_rate "$LEARNING_RATE"
    --num_train_epochs "$EPOCHS"
    --max_samples 100000
    --per_device_train_batch_size "$BATCH_SIZE"
    --gradient_accumulation_steps "$GRADIENT_ACCUMULATION"
    --lr_scheduler_type cosine
    --max_grad_norm 1.0
    --logging_steps "$LOGGING_STEPS"
    --save_steps "$SAVE_STEPS"
    --warmup_steps "$WARMUP_STEPS"
    --optim adamw_torch
    --packing False
    --report_to none
    --output_dir "$folder"
    "${precision[@]}"
    --plot_loss True
    --ddp_timeout 180000000
    --include_num_input_tokens_seen True
    --lora_rank "$LORA_RANK"
    --lora_alpha "$LORA_ALPHA"
    --lora_dropout 0
    --lora_target "$LORA_TARGET"
    --seed "$SEED"
    --save_total_limit 2
    --tokenized_path "$folder/tokenized")
  read -r -a extra <<<"$TRAIN_ARGS"
  TRAIN_COMMAND+=("${extra[@]}")
}

SCRIPT_FLAGS=(--dry-run)

# plan_training SIZE: what train_size would do.
plan_training() {
  local size=$1 status=0 force=()
  train_command "$size"
  ((FORCE == 0)) || force=(--force)
  if ! waits_for "training $size" "data llm_train_$size.json" 'base model'; then
    python py/training_record.py plan --folder "$(adapter_folder "$size")" --data "$DATA_DIR" --size "$size" \
      --name "$SWEEP_NAME" "${force[@]}" -- "${TRAIN_COMMAND[@]}" || status=$?
    ((status != 3)) || return 0
    ((status == 0)) || return 1
  fi
  would_run "${TRAIN_COMMAND[@]}"
}

# train_size SIZE: returns 0 when the size is trained, now or before.
train_size() {
  local size=$1 folder log status=0 begun=$SECONDS
  if ((DRY_RUN)); then
    plan_training "$size"
    return
  fi
  folder=$(adapter_folder "$size")
  log=$LOGS_DIR/$(run_name "$size").train.log
  train_command "$size"
  local force=()
  ((FORCE == 0)) || force=(--force)
  python py/training_record.py begin --folder "$folder" --data "$DATA_DIR" --size "$size" --name "$SWEEP_NAME" \
    "${force[@]}" -- "${TRAIN_COMMAND[@]}" || status=$?
  ((status != 3)) || return 0
  ((status == 0)) || return 1
  start_log "$log" "${TRAIN_COMMAND[@]}"
  say "size $size: training (log: $log)"
  start_group "the training of size $size" "$log" "${TRAIN_COMMAND[@]}"
  wait_group "$GROUP" || status=$?
  python py/training_record.py finish --folder "$folder" --exit-code "$status" --seconds $((SECONDS - begun)) \
    --log "$log" && return 0
  ((status == 0)) || show_tail "$log"
  return 1
}

main() {
  begin_script "$0" "$@"
  ensure_folder "$LOGS_DIR"
  ensure_folder "$SAVES_DIR"
  choose_device
  own_children
  each_size "$TRAIN_JOBS" train_size "${SIZES[@]}"
  ((${#FAILED_SIZES[@]} == 0)) || {
    ((DRY_RUN == 0)) || exit 2
    say "training failed for size(s) ${FAILED_SIZES[*]}"
    exit 1
  }
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
