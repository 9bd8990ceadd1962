#!/usr/bin/env bash
# Summary: Pretrain the base model of the profile tiny or tiny-deep, once.
#
# Usage: bin/base_model.sh [--dry-run] [--force]
#
# Makes a small GLM with random weights and pretrains it on unlabelled synthetic abstracts with `llamafactory-cli train`:
# it learns to name a text's key terms and to continue it. It is kept under saves/<model>/base and made again only when what
# decides it has changed. Other profiles take their base model from a folder or a hub.
#
# Exit status: 0 it is there, 1 the pretraining failed, 2 something for you to mend; with --dry-run also 3, it is to do.

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
  makes_model_of tiny
  local base=${MODEL%/base} dry=()
  ((DRY_RUN == 0)) || dry=(--dry-run)
  ensure_folder "$LOGS_DIR"
  ensure_folder "$SAVES_DIR"
  own_children
  # With so small a model two threads are slower than one.
  export CUDA_VISIBLE_DEVICES='' OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  # The numbers are chosen by trial on the validation split.
  start_family 'the base model' python py/build_base.py "${dry[@]}" -- llamafactory-cli train \
    --stage sft \
    --do_train True \
    --finetuning_type full \
    --train_from_scratch True \
    --model_name_or_path "$base/init" \
    --dataset_dir "$base/init" \
    --dataset base_corpus \
    --template glm4 \
    --cutoff_len 512 \
    --learning_rate 3e-3 \
    --num_train_epochs 1 \
    --per_device_train_batch_size 8 \
    --gradient_accumulation_steps 1 \
    --lr_scheduler_type cosine \
    --warmup_steps 0.05 \
    --logging_steps 25 \
    --save_strategy no \
    --report_to none \
    --disable_gradient_checkpointing True \
    --output_dir "$base/base.part" \
    --seed 42
  wait_group "$GROUP"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
