# What every test of the scripts needs: an environment whose llamafactory-cli is the stub, a folder with a space in
# its name for all outputs, and a few assertions. tests/stubs/llamafactory-cli says what the stub can be told.
# shellcheck shell=bash

bats_require_minimum_version 1.5.0
PROJECT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)

# in_library COMMANDS ARGUMENT...: run them in a shell that has sourced bin/lib.
in_library() {
  bash -c 'set -Eeuo pipefail; source "$1/bin/lib/all.bash"; commands=$2; shift 2; eval "$commands"' _ "$PROJECT" "$@"
}

# Nothing is inherited from whoever runs the tests but their environment's python.
export STUB_PYTHON=${STUB_PYTHON:-${FEWSHOT_VENV:-$PROJECT/.venv}/bin/python}
unset "${!FEWSHOT_@}" SETTINGS_FILE DEFAULT_PROFILE DEBUG CUDA_VISIBLE_DEVICES GPU HOLD IMPATIENT RETRIES GRACE IGNORE
# shellcheck disable=SC2046 # names of variables
unset $(in_library 'printf "%s " "${!SETTING_TYPE[@]}"')

# make_work: the folder of one test, WORK, with its settings: sizes 4 8 16, a model that is none, 60 rows in 3 classes;
# and in it the environment: its llamafactory-cli is the stub, its python the real one, started by tests/stubs/python.
make_work() {
  export WORK="$BATS_TEST_TMPDIR/with a space" STUB="$BATS_TEST_TMPDIR/with a space/stub"
  mkdir -p -- "$STUB/plan" "$WORK/a model"
  mkfifo -- "$STUB/at" "$STUB/go"
  touch -- "$STUB/calls" "$STUB/keys"
  # Open as long as the test runs, so that no one who writes waits for a reader.
  # shellcheck disable=SC2034 # for processes.bash
  exec {AT}<>"$STUB/at" {GO}<>"$STUB/go"
  echo '{}' >"$WORK/a model/config.json"
  printf '\2\0\0\0\0\0\0\0{}' >"$WORK/a model/model.safetensors" # without any tensor
  echo '{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "Animals": 1, "Plants": 2, "Stones": 3, "and": 4,
    "Sand": 5, "<|user|>": 6, "<|system|>": 7, "<|assistant|>": 8}}}' >"$WORK/a model/tokenizer.json"
  rows >"$WORK/rows.csv"
  PORT=$(unused_port)
  cat >"$WORK/settings.sh" <<END
SIZES=(4 8 16)
METHODS=lora
SWEEP_NAME=demo
MODEL='$WORK/a model'
TEMPLATE=glm4
DEVICE=cpu
BACKEND=huggingface
PREPROCESSING_WORKERS=1
TRAIN_FILE='$WORK/rows.csv'
CONCURRENCY=1
ADAPTER_CHECK=0
API_PORT=$PORT
DATA_DIR='$WORK/data'
SAVES_DIR='$WORK/saves'
LOGS_DIR='$WORK/logs'
OBJS_DIR='$WORK/objs'
END
  export SETTINGS_FILE=$WORK/settings.sh FEWSHOT_VENV=$WORK/venv
  mkdir -p -- "$FEWSHOT_VENV/bin"
  ln -s -- "$PROJECT/tests/stubs/llamafactory-cli" "$PROJECT/tests/stubs/python" "$FEWSHOT_VENV/bin/"
  in_library '_hash_lock; echo "$FEWSHOT_LOCK gpu modelscope dev"' >"$FEWSHOT_VENV/.few-shot-sft"
  # shellcheck disable=SC2034 # for the tests
  ADAPTERS=$WORK/saves/a_model/lora LOGS=$WORK/logs OBJS=$WORK/objs
}

# rows: the data as CSV.
rows() {
  local index labels=(Animals Plants 'Stones and Sand')
  echo text,label
  for ((index = 0; index < 60; index++)); do
    printf 'document %d about %s: word%d,%s\n' $index "${labels[index % 3]}" $((index * 7 % 11)) "${labels[index % 3]}"
  done
}

# with_data, with_adapters: give the test the data, or the data and the three adapters; made once in a run of bats.
with_data() {
  local made=$BATS_RUN_TMPDIR/data
  [[ -d $made ]] || DATA_DIR=$made "$PROJECT/bin/build_data.sh" >/dev/null 3>&-
  cp -r -- "$made" "$WORK/data"
}

with_adapters() {
  local made
  made=$BATS_RUN_TMPDIR/adapters-$(cksum <"$SETTINGS_FILE" | tr ' ' -) # the settings decide them
  with_data
  [[ -d $made ]] || SAVES_DIR=$made TRAIN_JOBS=2 "$PROJECT/bin/train.sh" >/dev/null 3>&-
  cp -r -- "$made" "$WORK/saves"
  rm -rf -- "$LOGS"
  : >"$STUB/calls"
}

# plan CALL BEHAVIOUR...: what the stub does at the next calls; plan train-8 exit
plan() { printf '%s\n' "${@:2}" >"$STUB/plan/$1"; }

# setting LINE: edit the test's settings file; setting EPOCHS=5
setting() {
  sed -i "/^${1%%=*}=/d" "$SETTINGS_FILE"
  printf '%s\n' "$1" >>"$SETTINGS_FILE"
}

# script NAME ARGUMENT...: run bin/NAME; sets status and output.
script() { ran "$PROJECT/bin/$1" "${@:2}"; }

# ran COMMAND...: as bats' run, but through a file: a process that is left behind must not keep a pipe, and us, open.
ran() {
  status=0
  MARK="$BATS_TEST_TMPDIR" timeout --kill-after 5 "${SCRIPT_TIMEOUT:-600}" "$@" >"$WORK/output" 2>&1 3>&- || status=$?
  output=$(<"$WORK/output")
}

# status_is N
status_is() {
  ((status == $1)) || fail "status $status, not $1; output:" "$output"
}

# said TEXT..., not_said TEXT...: output holds each, or none.
said() {
  local text
  for text; do [[ $output == *"$text"* ]] || fail "'$text' was not said; output:" "$output"; done
}

not_said() {
  local text
  for text; do [[ $output != *"$text"* ]] || fail "'$text' was said; output:" "$output"; done
}

# equal EXPECTED FOUND
equal() {
  [[ $1 == "$2" ]] ||
    fail "$(diff -u --label expected --label found <(printf '%s\n' "$1") <(printf '%s\n' "$2"))"
}

# calls: how often the stub was called, and for what: "train 4, api 4"
calls() {
  sed -nE 's/.* (train|api) --.* llm_train_(\S+) .*/\1 \2/p; s/.* API_MODEL_NAME=\S*_([0-9]+) api --.*/api \1/p
    s/.* API_MODEL_NAME=\S*-zero-shot api --.*/api 0/p
    s/.* train --.* base_corpus .*/train base/p' "$STUB/calls" | paste -sd, | sed 's/,/, /g'
}

# evaluated SIZE|zero-shot [SPLIT]: every item has been answered once, by the server of this size, and the record counts that.
evaluated() {
  local run=llm_train_$1
  [[ $1 != zero-shot ]] || run=zero-shot
  "$STUB_PYTHON" "$PROJECT/tests/helpers/evaluated.py" "${1/zero-shot/0}" "$WORK/data/llm_${2-test}.json" "$OBJS/demo-$run${2:+.$2}"
}

# fail MESSAGE...
fail() {
  printf '%s\n' "$@" >&2
  return 1
}

# value FILE KEY...: a value in a JSON file; "absent" when it is not there.
value() {
  "$STUB_PYTHON" -I -c 'import json, sys
found = json.load(open(sys.argv[1]))
for key in sys.argv[2:]:
    found = found.get(key, "absent") if isinstance(found, dict) else found[int(key)]
print(found if isinstance(found, str) else json.dumps(found))' "$@"
}

# values FILE 'KEY KEY'...: several of them, in a line.
values() {
  local keys
  # shellcheck disable=SC2086 # the words of a path
  for keys in "${@:2}"; do value "$1" $keys; done | paste -sd' '
}

# unused_port: a port that nothing listens on, below those that systems give to clients. Tests take the next ones, too: each
# file of bats that runs at the same time (bin/test.sh) chooses among others, and so does each lane of random_kills.bats.
unused_port() {
  local port=$((20000 + 3000 * (${TEST_SLOT:-0} % 4) + ${PORT_AT:-RANDOM % 4 * 700} + RANDOM % 690))
  while listens "$port"; do port=$((port + 1)); done
  echo "$port"
}

# listens PORT: something listens on it.
listens() { (exec 5<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
