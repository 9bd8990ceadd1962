#!/usr/bin/env bash
# Summary: Train one LoRA adapter for each size.
#
# Usage: bin/train.sh [--SETTING VALUE]...
#
# Runs `llamafactory-cli train` on llm_train_<N> for each N in SIZES, with the flags of the original's train.sh. Adapters
# go to saves/<model>/lora/<run>/, a log per size to logs/<run>.train.log. A size that was trained before with the
# same data, model, settings and versions is skipped; an interrupted one goes on from its last checkpoint.
#
# A size counts as trained only when the trainer had exactly N examples and its loss was finite and not zero.
# A size that fails does not stop the others.
#
# Exit status: 0 all sizes are trained, 1 some failed, 2 something for you to mend, 130/143/129 interrupted.

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

# train_command SIZE: fill TRAIN_COMMAND. Beside the original's flags: --tokenized_path keeps the examples that the
# trainer really sees, to count them; --seed; --save_total_limit bounds the disk that checkpoints take. A training of
# fewer steps than LOGGING_STEPS logs each of them.
train_command() {
  local folder precision=() how=() word
  folder=$(adapter_folder "$1")
  case $PRECISION in
  bf16) precision=(--bf16 True) ;;
  fp16) precision=(--fp16 True) ;;
  esac
  ((CHECKPOINTING)) || how+=(--disable_gradient_checkpointing True)
  [[ $QUANTIZATION == none ]] || how+=(--quantization_bit "$QUANTIZATION")
  local trainer=(llamafactory-cli train) optim=adamw_torch count_tokens=True
  if [[ $TRAINER == fast ]]; then
    # None of these changes what is learned: the same update in one kernel, and nothing that waits for the GPU after
    # each step only to count tokens or to look for nan, which the watch does.
    trainer=(python py/fast_trainer.py) optim=adamw_torch_fused count_tokens=False
    how+=(--logging_nan_inf_filter False)
    ((SHARED_PREFIX == 0)) || how+=(--shared_prefix auto)
  fi
  TRAIN_COMMAND=("${trainer[@]}"
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
    --max_samples "$(($1 > 100000 ? $1 : 100000))"
    --per_device_train_batch_size "$MICRO_BATCH"
    --gradient_accumulation_steps "$((BATCH_SIZE * GRADIENT_ACCUMULATION / MICRO_BATCH))"
    --lr_scheduler_type cosine
    --max_grad_norm 1.0
    --logging_steps "$LOGGING_STEPS"
    --save_steps "$SAVE_STEPS"
    --warmup_steps "$WARMUP_STEPS"
    --optim "$optim"
    --packing False
    --report_to none
    --output_dir "$folder"
    "${precision[@]}"
    --plot_loss True
    --ddp_timeout 180000000
    --include_num_input_tokens_seen "$count_tokens"
    --lora_rank "$LORA_RANK"
    --lora_alpha "$LORA_ALPHA"
    --lora_dropout 0
    --lora_target "$LORA_TARGET"
    --seed "$SEED"
    --save_total_limit 2
    --tokenized_path "$folder/tokenized")
  split_words "$TRAIN_ARGS"
  TRAIN_COMMAND+=("${how[@]}")
  # One form of each flag for all that read them: `--name=value` becomes two words.
  for word in "${WORDS[@]}"; do
    if [[ $word =~ ^(--[A-Za-z0-9_-]+)=(.*)$ ]]; then
      TRAIN_COMMAND+=("${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}")
    else
      TRAIN_COMMAND+=("$word")
    fi
  done
  word=$(python py/training_record.py logging --size "$1" -- "${TRAIN_COMMAND[@]}")
  [[ -z $word ]] || TRAIN_COMMAND+=(--logging_steps "$word")
}

SCRIPT_FLAGS=(--dry-run --worker)

# plan_training SIZE: what train_size would do.
plan_training() {
  local size=$1 status=0 force=()
  train_command "$size"
  ((FORCE == 0)) || force=(--force)
  if ! waits_for "training $size" "data llm_train_$size.json" 'base model'; then
    python py/training_record.py plan --folder "$(adapter_folder "$size")" --data "$DATA_DIR" --size "$size" \
      --name "$SWEEP_NAME" "${force[@]}" -- "${TRAIN_COMMAND[@]}" || status=$?
    ((status != DONE_BEFORE)) || return 0
    ((status == 0)) || return 1
  fi
  would_run "${TRAIN_COMMAND[@]}"
}

# train_size SIZE: returns 0 when the size is trained, now or before.
train_size() {
  local size=$1 log status=0
  if ((DRY_RUN)); then
    plan_training "$size"
    return
  fi
  log=$LOGS_DIR/$(run_name "$size").train.log
  begin_outcome training "$size" --log "$log"
  mkdir -p -- "$SAVES_DIR/$MODEL_NAME/lora"
  if hold_lock "$SAVES_DIR/$MODEL_NAME/lora/.$(run_name "$size").lock" "size $size"; then
    _train_size "$size" "$log" || status=$?
    let_go
  else
    status=1
  fi
  end_outcome "$status" training "$size"
  return $((status == DONE_BEFORE ? 0 : status))
}

_train_size() {
  local size=$1 log=$2 folder status=0 begun force=()
  folder=$(adapter_folder "$size")
  train_command "$size"
  now
  begun=$NOW
  ((FORCE == 0)) || force=(--force)
  run_child "the look at size $size" python py/training_record.py begin --folder "$folder" --data "$DATA_DIR" \
    --size "$size" --name "$SWEEP_NAME" --log "$log" "${force[@]}" -- "${TRAIN_COMMAND[@]}" || status=$?
  ((status != DONE_BEFORE)) || return "$status"
  ((status == 0)) || return 1
  start_log "$log" "${TRAIN_COMMAND[@]}"
  say "size $size: training (log: $log)"
  run_trainer "$size" "$folder" "$log" || status=$?
  now
  run_child "the check of size $size" python py/training_record.py finish --folder "$folder" --exit-code "$status" \
    --seconds $((NOW - begun)) --log "$log" && return 0
  ((status == 0)) || show_tail "$log"
  return 1
}

# run_trainer SIZE FOLDER LOG: run TRAIN_COMMAND to its end, or until its loss is broken or it has gone silent; returns
# its exit status.
run_trainer() {
  local size=$1 trainer watcher first='' status=0 seen=0 stall=()
  ((TRAIN_STALL == 0)) || stall=(--stall "$TRAIN_STALL")
  start_group "the training of size $size" "$3" "${TRAIN_COMMAND[@]}"
  trainer=$GROUP
  start_group "the watch over size $size" - python py/watch_training.py --folder "$2" --log "$3" "${stall[@]}"
  watcher=$GROUP
  wait -n -p first "$trainer" "$watcher" || seen=$?
  if [[ $first == "$trainer" ]]; then
    status=$seen
  elif ((seen == ABORT)); then # it has said why, and left word for the record
    stop_group "$trainer" || true
    status=143
  else
    warn "size $size: the watch over its loss ended with status $seen; the training goes on without"
    wait "$trainer" || status=$?
  fi
  stop_group "$trainer" || true
  stop_group "$watcher" || true
  return "$status"
}

ABORT=3 # watch_training.py: the training is to be ended

main() {
  begin_script "$0" "$@"
  ensure_folder "$LOGS_DIR"
  ensure_folder "$SAVES_DIR"
  inputs_are_there
  take_fitted_sizes
  choose_device
  resolve_plan
  # In a sweep the last GPU may be the server's alone.
  if [[ -n ${FEWSHOT_PLAN-} ]] && ((SERVER_ALONE && ${#GPUS[@]} > 1)); then unset 'GPUS[-1]'; fi
  own_children
  each_size training "$TRAIN_JOBS" train_size "${SIZES[@]}"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
