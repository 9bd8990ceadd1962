# The dry run: each program says in a line what is done or to do, and why, below it the commands that would run; it ends
# with 3 where there is something to do, and notes it in the file FEWSHOT_PLANNED for those that come after it.
# shellcheck shell=bash

# begin_dry_run [PART]...: nothing is installed, no bytecode is kept, runs come one after the other.
begin_dry_run() {
  environment_is_there "$@" ||
    die "a dry run installs nothing, and the environment is not there yet; make it with: bin/setup.sh${*:+ $*}"
  export PYTHONDONTWRITEBYTECODE=1
  # shellcheck disable=SC2034 # settings
  TRAIN_JOBS=1 EVAL_JOBS=1
}
