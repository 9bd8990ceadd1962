# The loop over sizes: one after the other or several at once; one that fails does not stop the others.
# shellcheck shell=bash

# sizes_are_default: nobody has chosen other SIZES than settings.sh comes with.
sizes_are_default() { [[ ${SIZES[*]} == "${SETTING_DEFAULT[SIZES]}" ]]; }

# take_fitted_sizes: where the default SIZES did not fit the data, take those that bin/build_data.sh took instead.
take_fitted_sizes() {
  sizes_are_default && [[ -f $DATA_DIR/manifest.json ]] || return 0
  local sizes
  sizes=$(python py/build_data.py --source files --out "$DATA_DIR" --sizes "${SIZES[@]}" --show-sizes) || return
  read -r -a SIZES <<<"$sizes"
}

# inputs_are_there: said once here, not for every size.
inputs_are_there() {
  ((DRY_RUN == 0)) || return 0
  [[ -f $DATA_DIR/manifest.json ]] || die "$DATA_DIR: there is no data; make it with bin/build_data.sh"
  [[ $MODEL != [./~]* && $MODEL != "$SAVES_DIR"/* || -d $MODEL ]] ||
    die "MODEL=$MODEL: no such folder$([[ $MODEL != "$SAVES_DIR/tiny/base" ]] || printf '; make it with bin/base_model.sh')"
}

# each_size WHAT JOBS FUNCTION SIZE...: call FUNCTION SIZE for each, and exit: 0 when all went well, 1 when WHAT failed
# for some, 2 when a dry run could not tell.
each_size() {
  local what=$1 jobs=$2 function=$3 size failed=()
  shift 3
  if [[ -n $WORKER ]]; then
    "$function" "$WORKER" || exit
    exit 0
  fi
  if ((jobs <= 1 || $# == 1)); then
    for size; do
      "$function" "$size" || failed+=("$size")
    done
  else
    _at_once "$jobs" "$@"
  fi
  ((${#failed[@]} > 0)) || exit 0
  ((DRY_RUN == 0)) || exit 2
  say "$what failed for size(s) ${failed[*]}"
  exit 1
}

# _at_once JOBS SIZE...: each size by a process of its own: this script again, as the worker of that size. Fills failed.
_at_once() {
  local -A running=() ended_badly=() gpu_of=()
  local jobs=$1 size index=0 gpu port
  shift
  settings_as_flags
  # The longest first: started last, it would run alone at the end.
  while IFS= read -r size; do
    ((${#running[@]} < jobs)) || _reap_size
    gpu=$(_least_used_gpu)
    # Each looks for a free port in a range of its own.
    port=$((API_PORT + 20 * (index % 50)))
    ((port <= 65535)) || port=$API_PORT
    CUDA_VISIBLE_DEVICES=$gpu start_script "size $size" "bin/${0##*/}" "${FLAGS[@]}" "--api-port=$port" "--worker=$size"
    running[$GROUP]=$size gpu_of[$GROUP]=$gpu
    index=$((index + 1))
  done < <(printf '%s\n' "$@" | sort -rn)
  while ((${#running[@]} > 0)); do _reap_size; done
  for size; do
    [[ ! -v ended_badly[$size] ]] || failed+=("$size")
  done
}

# _least_used_gpu: of GPUS, the first that the fewest run on.
_least_used_gpu() {
  local gpu count fewest='' best
  for gpu in "${GPUS[@]}"; do
    count=$(printf '%s\n' "${gpu_of[@]}" | grep -cxF -- "$gpu") || true
    if [[ -z $fewest || $count -lt $fewest ]]; then fewest=$count best=$gpu; fi
  done
  printf '%s' "$best"
}

_reap_size() {
  local group='' status=0
  wait -n -p group "${!running[@]}" || status=$?
  stop_group "$group" || true
  ((status == 0)) || ended_badly[${running[$group]}]=$status
  unset "running[$group]" "gpu_of[$group]"
}
