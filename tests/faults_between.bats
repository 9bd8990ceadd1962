#!/usr/bin/env bats
# The fault matrix: what happens between two runs, or to two runs at once: damaged and changed files, changed settings.

load helpers/faults

# damaged PHASE FILE HOW: a file of a finished sweep is damaged before the same command is run again. HOW: torn (its
# second half is gone), empty, gone, garbage.
damaged() {
  before "$1"
  local file=$WORK/$2
  [[ -s $file ]] || fail "no $2"
  case $3 in
  torn) truncate --size $(($(stat --format %s -- "$file") / 2)) "$file" ;;
  empty) : >"$file" ;;
  gone) rm -- "$file" ;;
  garbage) head -c 1000 /dev/urandom >"$file" ;;
  esac
  script sweep.sh
  as_undisturbed
}
LORA=saves/a_model/lora/demo-llm_train_4
fault 'predictions file torn' 'between runs' damaged objs/demo-llm_train_4.predictions.jsonl torn
fault 'predictions file of garbage' 'between runs' damaged objs/demo-llm_train_4.predictions.jsonl garbage
fault 'predictions file gone' 'between runs' damaged objs/demo-llm_train_4.predictions.jsonl gone
fault 'evaluation record torn' 'between runs' damaged objs/demo-llm_train_4.json torn
fault 'results file torn' 'between runs' damaged objs/demo/results.json torn
fault 'adapter torn' 'between runs' damaged $LORA/adapter_model.safetensors torn
fault 'adapter gone' 'between runs' damaged $LORA/adapter_model.safetensors gone
fault 'training record torn' 'between runs' damaged $LORA/training.json torn
fault 'data file torn' 'between runs' damaged data/llm_train_4.json torn
fault 'data file gone' 'between runs' damaged data/llm_test.json gone
fault 'manifest torn' 'between runs' damaged data/manifest.json torn

# checkpoint_damaged PHASE FILE: an interrupted training's last checkpoint is torn.
checkpoint_damaged() {
  enter training
  kill_sweep
  patiently nothing_runs
  local folder=$ADAPTERS/demo-llm_train_4
  truncate --size 5 "$folder/checkpoint-2/$2"
  recovers
  said 'size 4: starting again, there is no checkpoint yet'
}
for file in adapter_model.safetensors optimizer.pt scheduler.pt trainer_state.json; do
  fault "checkpoint torn: $file" 'between runs' checkpoint_damaged $file
done

# torn_line PHASE: an interrupted evaluation's last answer is half a line, and one is there twice.
fault 'last answer torn, one doubled' 'between runs' torn_line
torn_line() {
  enter evaluation
  kill_sweep
  patiently nothing_runs
  local file=$OBJS/demo-llm_train_4.predictions.jsonl
  local line
  line=$(sed -n 2p "$file")
  printf '%s\n' "$line" >>"$file"
  printf '{"index": 9, "pre' >>"$file"
  script sweep.sh
  said "dropped 2 damaged line(s) of $file"
  as_undisturbed
  once
}

# changed PHASE: in a sweep that was interrupted in PHASE, the data file is changed before the rerun.
fault 'data file changed between runs' 'training, evaluation, between runs' data_changed
data_changed() {
  interrupted "$1"
  change_data
  script sweep.sh
  compare_changed
}

fault 'data file changed while a sweep runs' 'training, evaluation' data_changed_meanwhile
data_changed_meanwhile() {
  enter "$1"
  change_data
  release
  finished
  status_is 0
  records same "$UNDISTURBED" # what it began with
  script sweep.sh
  compare_changed
}

fault 'settings changed between runs' 'training, evaluation, between runs' settings_changed
settings_changed() {
  interrupted "$1"
  setting EPOCHS=2
  setting LEARNING_RATE=1e-3
  script sweep.sh
  undisturbed settings EPOCHS=2 LEARNING_RATE=1e-3
  as_undisturbed
  equal '2 1e-3' "$(value "$ADAPTERS/demo-llm_train_4/training.json" settings num_train_epochs) $(value "$ADAPTERS/demo-llm_train_4/training.json" settings learning_rate)"
}

fault 'settings file edited while a sweep runs' 'training, evaluation' settings_edited
settings_edited() {
  enter "$1"
  setting EPOCHS=2
  setting TEMPLATE=qwen
  release
  finished
  as_undisturbed
  setting EPOCHS=3.0
  setting TEMPLATE=glm4
  recovers
}

fault 'settings file broken while a sweep runs' 'data, training, evaluation' settings_broken
settings_broken() {
  enter "$1"
  echo 'SIZES=(' >>"$SETTINGS_FILE" # edited for the next night, and saved half way
  release
  finished
  as_undisturbed
  once
}

fault 'base model changed between runs' 'training, evaluation, between runs' model_changed
model_changed() {
  interrupted "$1"
  printf '\2\0\0\0\0\0\0\0{}more' >"$WORK/a model/model.safetensors"
  script sweep.sh
  as_undisturbed # the stub answers the same whatever the model is
  said 'model'
  [[ -d $ADAPTERS/replaced ]] || fail 'what was trained with another model was gone on with'
  [[ $1 != 'between runs' || -d $OBJS/replaced ]] || fail 'the result of before is not kept'
}

# interrupted PHASE: a sweep was killed in the phase, or has ended.
interrupted() {
  [[ $1 != 'between runs' ]] || {
    before "$1"
    return 0
  }
  enter "$1"
  kill_sweep
  patiently nothing_runs
}

# change_data: two classes have changed their names, so that the data of every size are others; as many as before.
change_data() { sed -i 's/,Animals$/,Planets/; s/,Plants$/,Animals/; s/,Planets$/,Plants/' "$WORK/rows.csv"; }

compare_changed() {
  local rows=$BATS_RUN_TMPDIR/changed.csv
  cp -- "$WORK/rows.csv" "$rows"
  undisturbed changed "TRAIN_FILE='$rows'"
  as_undisturbed
}

fault 'a second sweep at the same time' "$EVERYWHERE" second_sweep
second_sweep() {
  enter "$1"
  local first=$WORK/first
  mv -- "$WORK/output" "$first"
  script sweep.sh
  status_is 2
  said "another sweep writes to $OBJS"
  [[ ! -e $OBJS/demo/summary.json ]] || fail 'there is a summary of a sweep that runs'
  release
  mv -- "$first" "$WORK/output"
  finished
  as_undisturbed
  once
}
