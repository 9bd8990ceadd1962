# The loop over sizes: one after the other or several at once; one that fails does not stop the others.
# shellcheck shell=bash

# each_size JOBS FUNCTION SIZE...: call FUNCTION SIZE for each. Sets FAILED_SIZES.
each_size() {
  local jobs=$1 function=$2 size
  shift 2
  FAILED_SIZES=()
  if ((jobs <= 1 || $# == 1)); then
    for size; do
      "$function" "$size" || FAILED_SIZES+=("$size")
    done
    return
  fi
  local -A running=() failed=()
  local pid index=0
  # The longest first: started last, it would run alone at the end.
  while IFS= read -r size; do
    ((${#running[@]} < jobs)) || _reap_size
    # A subshell ends its own children; this script ends the subshell (end_children).
    # shellcheck disable=SC2034 # for process.bash
    STARTING=1
    (
      # shellcheck disable=SC2034 # process.bash: what this subshell ends is its own
      CHILDREN=() WORKERS=() STARTING=0
      API_PORT=$((API_PORT + 20 * index)) # each looks for a free port in a range of its own
      own_children
      "$function" "$size"
    ) &
    pid=$!
    running[$pid]=$size
    # shellcheck disable=SC2034 # process.bash ends them
    WORKERS[pid]="size $size"
    child_is_noted
    index=$((index + 1))
  done < <(printf '%s\n' "$@" | sort -rn)
  while ((${#running[@]} > 0)); do _reap_size; done
  for size; do
    [[ ! -v failed[$size] ]] || FAILED_SIZES+=("$size")
  done
}

_reap_size() {
  local pid='' status=0
  wait -n -p pid "${!running[@]}" || status=$?
  ((status == 0)) || failed[${running[$pid]}]=$status
  unset "running[$pid]" "WORKERS[$pid]"
}
