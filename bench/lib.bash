# What the benches have in common.
# shellcheck shell=bash

# work_folder: set WORK to BENCH_DIR, or to a new temporary folder.
work_folder() {
  WORK=${BENCH_DIR:-$(mktemp -d)}
  mkdir -p -- "$WORK"
  WORK=$(cd -- "$WORK" && pwd -P)
}

# our_evaluation RUN OBJS LIMIT: ask the first LIMIT test items through the server at URL (bench/serve.py).
# shellcheck disable=SC2034 # settings
our_evaluation() (
  OBJS_DIR=$2 EVAL_LIMIT=$3 ADAPTER_CHECK=0 SPLIT=test CONSTRAIN=0
  mkdir -p -- "$2"
  write_settings "$2/settings.json"
  FEWSHOT_SETTINGS=$2/settings.json exec python py/eval.py "$1" --at "$URL" --server-pid "$SERVER_PID"
)
