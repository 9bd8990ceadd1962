#!/usr/bin/env bash
# Summary: Pretrain the base model of the tiny profile, once.
#
# Usage: bin/base_model.sh [--force]
#
# Makes a small GLM with random weights and pretrains it on unlabelled synthetic abstracts with
# `llamafactory-cli train`: it learns to name a text's key terms and to continue it. It is kept under saves/tiny/base and made again only when what decides it
# has changed. Other profiles take their base model from a folder or a hub.
#
# Exit status: 0 it is there, 1 the pretraining failed, 2 something for you to mend.

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

SCRIPT_FLAGS=(--dry-run)

main() {
  begin_script "$0" "$@"
  local base=$SAVES_DIR/tiny/base log=$LOGS_DIR/tiny.base.log status=0 begun
  ensure_folder "$LOGS_DIR"
  ensure_folder "$SAVES_DIR"
  DEVICE=cpu choose_device
  own_children
  # The numbers are chosen by trial on the validation split.
  local command=(llamafactory-cli train
    --stage sft
    --do_train True
    --finetuning_type full
    --train_from_scratch True
    --model_name_or_path "$SAVES_DIR/tiny/init"
    --dataset_dir "$SAVES_DIR/tiny/init"
    --dataset base_corpus
    --template glm4
    --cutoff_len 512
    --learning_rate 3e-3
    --num_train_epochs 1
    --per_device_train_batch_size 8
    --gradient_accumulation_steps 1
    --lr_scheduler_type cosine
    --warmup_steps 0.05
    --logging_steps 25
    --save_strategy no
    --report_to none
    --disable_gradient_checkpointing True
    --output_dir "$SAVES_DIR/tiny/base.part"
    --seed 42)
  local force=()
  ((FORCE == 0)) || force=(--force)
  local do=plan
  if ((DRY_RUN == 0)); then
    do=prepare
    mkdir -p -- "$SAVES_DIR/tiny"
    hold_lock "$SAVES_DIR/tiny/.base.lock" "base model" || exit 1
  fi
  now
  begun=$NOW
  run_child "the look at the base model" python py/build_base.py "$do" --base "$base" --texts "$BASE_TEXTS" \
    "${force[@]}" -- "${command[@]}" || status=$?
  ((status != DONE_BEFORE)) || return 0
  ((status == 0)) || exit "$status"
  if ((DRY_RUN)); then
    would_run "${command[@]}"
    return
  fi
  start_log "$log" "${command[@]}"
  say "base model: pretraining (log: $log)"
  start_group "the pretraining" "$log" "${command[@]}"
  wait_group "$GROUP" || {
    show_tail "$log"
    exit 1
  }
  now
  run_child "the check of the base model" python py/build_base.py finish --base "$base" --seconds $((NOW - begun)) --log "$log"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
