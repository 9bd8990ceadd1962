#!/usr/bin/env bash
# Summary: Draw the training subsets and the held-out splits.
#
# Usage: bin/build_data.sh [--SETTING VALUE]...
#
# Writes data/<sweep>/llm_train_<N>.json for each N in SIZES, llm_valid.json and llm_test.json in the original's Alpaca
# form, registers them in dataset_info.json and describes them in manifest.json. The data come from TRAIN_FILE
# when it is set, else from DATASET: a name on the hub, or synthetic-patents, which is generated.
# The same settings give the same bytes; what is up to date is left alone.
#
# Exit status: 0 done, 2 something for you to mend; files of an earlier run stay as they are then.

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
  local command=(python py/build_data.py --out "$DATA_DIR" --sizes "${SIZES[@]}" --sampling "$SAMPLING" --seed "$SEED")
  ! sizes_are_default || command+=(--fit)
  if [[ -n $TRAIN_FILE ]]; then
    command+=(--source files --train-file "$TRAIN_FILE" --text-column "$TEXT_COLUMN" --label-column "$LABEL_COLUMN"
      --encoding "$ENCODING" --delimiter "$DELIMITER")
    [[ -z $VALID_FILE ]] || command+=(--valid-file "$VALID_FILE")
    [[ -z $TEST_FILE ]] || command+=(--test-file "$TEST_FILE")
  elif [[ $DATASET == synthetic-patents ]]; then
    command+=(--source generator)
  else
    command+=(--source hub --dataset "$DATASET" --dataset-config "$DATASET_CONFIG"
      --text-column "$TEXT_COLUMN" --label-column "$LABEL_COLUMN")
    export USE_MODELSCOPE_HUB
  fi
  [[ -z $LABELS_FILE ]] || command+=(--labels-file "$LABELS_FILE")
  [[ -z $INSTRUCTION_FILE ]] || command+=(--instruction-file "$INSTRUCTION_FILE")
  [[ -z $VALID_COUNT ]] || command+=(--valid-count "$VALID_COUNT")
  [[ -z $TEST_COUNT ]] || command+=(--test-count "$TEST_COUNT")
  if ((DRY_RUN)); then
    local status=0
    "${command[@]}" --plan || status=$?
    ((status == DONE_BEFORE)) && return
    ((status != 0)) || would_run "${command[@]}"
    return "$status"
  fi
  own_children
  run_child "the building of the data" "${command[@]}"
}

# Parsed whole before it runs: an edit of this file in the middle of a night does no harm.
[[ ${BASH_SOURCE[0]} != "$0" ]] || {
  main "$@"
  exit
}
