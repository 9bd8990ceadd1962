# What the benches have in common.
# shellcheck shell=bash

# work_folder: set WORK to BENCH_DIR, or to a new temporary folder.
work_folder() {
  WORK=${BENCH_DIR:-$(mktemp -d)}
  mkdir -p -- "$WORK"
  WORK=$(cd -- "$WORK" && pwd -P)
}

# with_settings FOLDER NAME=VALUE... -- COMMAND...: run a script or program of ours with some settings changed.
with_settings() (
  local file=$1/settings.json
  shift
  mkdir -p -- "${file%/*}"
  while [[ $1 != -- ]]; do
    # shellcheck disable=SC2034 # for write_settings
    [[ $1 != SIZES=* ]] || SIZES=()
    printf -v "${1%%=*}" '%s' "${1#*=}"
    shift
  done
  write_settings "$file"
  FEWSHOT_SETTINGS=$file exec "${@:2}"
)

# our_evaluation RUN OBJS LIMIT: ask the first LIMIT test items through the server at URL (bench/serve.py).
our_evaluation() {
  with_settings "$2" "OBJS_DIR=$2" "EVAL_LIMIT=$3" ADAPTER_CHECK=0 SPLIT=test CONSTRAIN=0 -- \
    python py/eval.py "$1" --at "$URL" --server-pid "$SERVER_PID"
}
