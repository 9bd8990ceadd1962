#!/usr/bin/env bats
# bin/baselines.sh: methods without a server; and METHODS, the setting that chooses them.

load helpers/common
load helpers/processes

setup() {
  make_work
  setting METHODS=tfidf
  setting SIZES='(4 8)'
  export HF_HUB_OFFLINE=1 HF_HOME="$WORK/hub"
}
teardown() { end_leftovers; }

# made SIZE: the record of tfidf on so many examples is whole.
made() {
  equal "evaluation tfidf $1 12 absent" "$(values "$OBJS/demo-tfidf_$1.json" kind method size 'counts items' model)"
  equal 12 "$(grep -c '"pred"' "$OBJS/demo-tfidf_$1.predictions.jsonl")"
  [[ -f $OBJS/demo-tfidf_$1.scores.json && -f $OBJS/demo-tfidf_$1.pkl ]]
}

is_locked() { [[ -e $1 ]] && ! flock --nonblock "$1" true; }

# methods_are EXPECTED ARGUMENT...: METHODS with these arguments.
methods_are() {
  run in_library 'load_settings "$@"; echo "$METHODS"' "${@:2}"
  status_is 0
  equal "$1" "$output"
}

# methods_refused MESSAGE ARGUMENT...
methods_refused() {
  script baselines.sh "${@:2}"
  status_is 2
  equal "error: METHODS (from $1" "$output"
}

@test "all sizes; then all is skipped; --force makes them anew; a dry run says so and makes nothing" {
  with_data
  script baselines.sh --dry-run
  status_is 3
  equal 'evaluation of tfidf, size 4: to do
evaluation of tfidf, size 8: to do
data quality: to do' "$output"
  equal '' "$(ls -A "$OBJS" 2>/dev/null)"

  script baselines.sh
  status_is 0
  made 4
  made 8
  said 'tfidf, size 4: accuracy ' 'tfidf, size 8: accuracy '
  equal '' "$(calls)"
  local identity
  identity=$(value "$OBJS/demo-tfidf_8.json" identity)

  script baselines.sh
  status_is 0
  equal "tfidf, size 4: already evaluated ($OBJS/demo-tfidf_4.json)
tfidf, size 8: already evaluated ($OBJS/demo-tfidf_8.json)
data quality: already checked ($OBJS/demo/data_quality.json)" "$output"
  script baselines.sh --dry-run
  status_is 0
  equal "evaluation of tfidf, size 4: done ($OBJS/demo-tfidf_4.json)
evaluation of tfidf, size 8: done ($OBJS/demo-tfidf_8.json)
data quality: done ($OBJS/demo/data_quality.json)" "$output"

  script baselines.sh --sizes 8 --dry-run --force
  status_is 3
  equal 'evaluation of tfidf, size 8: to do, --force
data quality: to do, --force' "$output"
  script baselines.sh --sizes 8 --force
  status_is 0
  said "$OBJS/demo-tfidf_8.json: made anew; the old one is $OBJS/replaced/demo-tfidf_8.json-"
  made 8
  equal "$identity" "$(value "$OBJS/demo-tfidf_8.json" identity)"
}

@test "killed between two runs: the first is kept, the second is made" {
  with_data
  HOLD_WRITE=/objs/demo-tfidf_8.json start baselines.sh
  reached 'writing /objs/demo-tfidf_8.json'
  kill -KILL "$STARTED"
  wait "$STARTED" || true
  patiently nothing_runs
  [[ -f $OBJS/demo-tfidf_4.json && ! -e $OBJS/demo-tfidf_8.json ]]
  script baselines.sh
  status_is 0
  said "tfidf, size 4: already evaluated ($OBJS/demo-tfidf_4.json)" 'tfidf, size 8: accuracy '
  made 4
  made 8
}

@test "a run that another process is at is waited for" {
  with_data
  mkdir -p -- "$OBJS"
  local lock=$OBJS/.demo-tfidf_8.lock
  MARK="$BATS_TEST_TMPDIR" flock --close "$lock" sleep 300 3>&- &
  local holder=$!
  patiently is_locked "$lock"
  start baselines.sh --sizes 8
  patiently grep -qF "tfidf, size 8: another process is at it ($lock is locked)" "$WORK/output"
  kill "$holder"
  ended 0
  made 8
}

@test "a method that cannot run is left out with its reason, and the others go on; the table says it, too" {
  with_data
  mkdir -p -- "$LOGS/demo.outcomes"
  FEWSHOT_OUTCOMES=$LOGS/demo.outcomes script baselines.sh --methods embedding tfidf --encoder /none
  status_is 0
  said 'embedding: left out: ENCODER=/none: no such folder; set it to a folder, or a name on the hub'
  made 4
  made 8
  [[ ! -e $OBJS/demo-embedding_4.json ]]
  script baselines.sh --methods embedding tfidf --encoder /none --dry-run
  status_is 0
  said 'embedding: left out: ENCODER='
  PLOTS=0 script results.sh --methods embedding tfidf
  said 'absent: embedding, 2 runs: left out: ENCODER=/none: no such folder; set it'
}

@test "without data it says what makes them" {
  script baselines.sh
  status_is 2
  equal "error: $WORK/data: there is no data; make it with bin/build_data.sh" "$output"
}

@test "METHODS: flag, environment, array, auto" {
  methods_are 'lora tfidf' --methods lora tfidf
  methods_are 'lora tfidf' --methods 'lora,tfidf'
  methods_are 'lora tfidf' --methods lora tfidf --sizes 4
  METHODS=k-shot methods_are k-shot
  setting METHODS='(zero-shot llm-embedding)'
  methods_are 'zero-shot llm-embedding'
  setting METHODS=auto
  methods_are auto
  sed -i /^METHODS/d "$SETTINGS_FILE"
  methods_are auto
}

@test "METHODS that there are not, twice or none" {
  local known='lora zero-shot k-shot tfidf embedding llm-embedding encoder setfit'
  methods_refused "--methods) has 'bert'; it must be auto, or some of $known" --methods lora bert
  methods_refused '--methods) has tfidf twice' --methods tfidf tfidf
  methods_refused "--methods) is empty; it must be auto, or some of $known" --methods=
  methods_refused "--methods) has 'auto'; it must be auto, or some of $known" --methods lora auto
}

@test "of METHODS without a model none is trained and no server is asked: there is nothing to do" {
  with_data
  local each
  for each in train.sh eval.sh; do
    script "$each" --methods 'tfidf embedding'
    status_is 0
    equal '' "$output"
  done
  equal '' "$(calls)"
}
