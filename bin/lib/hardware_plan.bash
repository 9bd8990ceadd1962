# The settings that are `auto`: how the same training and evaluation is computed on this machine.
# shellcheck shell=bash

PLANNED_SETTINGS=(MICRO_BATCH CHECKPOINTING QUANTIZATION TRAIN_JOBS OVERLAP EAGER GPU_MEMORY KV_CACHE_BYTES)

# resolve_plan: give those of the PLANNED_SETTINGS that are `auto` a value. On a GPU py/hardware_plan.py chooses, from
# what choose_device found and from the data where they are there; its reasons are kept in logs/<sweep>.plan.json. A dry
# run prints them. Sets SERVER_ALONE: 1 where beside the training the server has the last GPU for itself.
resolve_plan() {
  local name line out=(--out "$LOGS_DIR/$SWEEP_NAME.plan.json") hardware=$LOGS_DIR/hardware.json open=0 lines
  for name in "${PLANNED_SETTINGS[@]}"; do [[ ${!name} != auto ]] || open=1; done
  ((open)) || return 0
  if [[ $DEVICE == cpu ]]; then
    # The seed's way; the profile knows better, and sets them.
    local plain=(MICRO_BATCH="$BATCH_SIZE" CHECKPOINTING=1 QUANTIZATION=none TRAIN_JOBS=1 OVERLAP=0 EAGER=1
      GPU_MEMORY=0.9 KV_CACHE_BYTES=0)
    for line in "${plain[@]}"; do _take_auto "$line"; done
    return
  fi
  settings_as_flags
  if ((DRY_RUN)); then
    # It leaves no record: what the GPUs are is asked for here.
    hardware=$(mktemp) out=()
    python py/hardware.py --out "$hardware" || true
    python py/hardware_plan.py "${FLAGS[@]}" --hardware "$hardware" --explain
  fi
  lines=$(python py/hardware_plan.py "${FLAGS[@]}" --hardware "$hardware" --details "${out[@]}") ||
    die "no plan could be made for this hardware; the message above says why"
  ((DRY_RUN == 0)) || rm -f -- "$hardware"
  while IFS= read -r line; do _take_auto "$line"; done <<<"$lines"
  for name in "${PLANNED_SETTINGS[@]}"; do [[ ${!name} != auto ]] || die "the plan has no $name"; done
}

SERVER_ALONE=0

# _take_auto NAME=VALUE: of a setting that is `auto`, or SERVER_ALONE; what else the plan tells is for its record.
_take_auto() {
  [[ $1 =~ ^([A-Z_]+)=([0-9a-z.]+)$ ]] || die "not a line of a plan: $1"
  # shellcheck disable=SC2034 # for bin/sweep.sh
  [[ ${BASH_REMATCH[1]} != SERVER_ALONE ]] || SERVER_ALONE=${BASH_REMATCH[2]}
  [[ " ${PLANNED_SETTINGS[*]} " == *" ${BASH_REMATCH[1]} "* && ${!BASH_REMATCH[1]} == auto ]] || return 0
  printf -v "${BASH_REMATCH[1]}" '%s' "${BASH_REMATCH[2]}"
}
