# The dry run: one line a step on stdout, `STEP: done (...)` or `STEP: to do, WHY`, below it the commands that would run.
# shellcheck shell=bash

# begin_dry_run [PART]...: nothing is installed, no bytecode is kept, sizes come one after the other.
begin_dry_run() {
  environment_is_there "$@" ||
    die "a dry run installs nothing, and the environment is not there yet; make it with: bin/setup.sh${*:+ $*}"
  export PYTHONDONTWRITEBYTECODE=1
  # shellcheck disable=SC2034 # settings
  TRAIN_JOBS=1 EVAL_JOBS=1
}

# would_run COMMAND...: print it below its step, as one could paste it into a shell.
would_run() { printf '    %s\n' "$(quoted "$@")"; }

# waits_for WHAT STEP...: WHAT cannot be decided before one of these steps, which an earlier script plans to do (PLANNED,
# of bin/sweep.sh): say so. Returns 1 when there is none.
waits_for() {
  local what=$1 step
  shift
  for step; do
    if [[ $'\n'${PLANNED-} == *$'\n'"$step"$'\n'* ]]; then
      case $step in
      data\ *) step=data ;;
      training\ *) step=training ;;
      esac
      printf '%s: to do (%s)\n' "$what" "$step"
      return 0
    fi
  done
  return 1
}

# plan_of SCRIPT: its part of the plan, with the settings in FLAGS. What it has to do is added to PLANNED.
plan_of() {
  local text line
  text=$("$BASH" -p "$1" "${FLAGS[@]}" --dry-run) || return
  printf '%s\n' "$text"
  while IFS= read -r line; do
    [[ $line == ' '* || $line != *': to do'* ]] || PLANNED+=${line%%': to do'*}$'\n'
  done <<<"$text"
  export PLANNED
}
