#!/usr/bin/env bats
# bin/sweep.sh --dry-run: what it says is what would happen, and nothing changes. And the preflight, in the sweep.

load helpers/common
load helpers/processes

setup() { make_work; }
teardown() { end_leftovers; }

# on_disk: every file and folder of the test, with size and time, but for what the test itself writes.
on_disk() {
  {
    find "$WORK" ! -path "$WORK" ! -path "$WORK/output" ! -path "$STUB*" ! -path "$SETTINGS_FILE" -printf '%p %s %T@\n'
    # What other tests import is compiled meanwhile.
    find "$PROJECT/py" "$PROJECT/bin" -name __pycache__ -prune -o -type f -printf '%p %s %T@\n'
  } | sort
}

# planned ARGUMENT...: the plan, without the commands, in $steps; nothing is called, nothing on the disk changes.
planned() {
  local before
  before=$(on_disk)
  : >"$STUB/calls"
  script sweep.sh --dry-run "$@"
  status_is 0
  equal "$before" "$(on_disk)"
  equal '' "$(calls)"
  steps=$(grep -v '^    ' "$WORK/output")
}

# words TEXT: those that a shell reads in it, however they are quoted.
words() { "$STUB_PYTHON" -I -c 'import shlex, sys; print(*shlex.split(sys.argv[1]), sep="\n")' "$1"; }

@test "before the first run: all is to do, and the commands are those that run" {
  planned --sizes 4 8 --methods 'lora zero-shot'
  local size expected=''
  for size in 'data llm_train_4.json' 'data llm_train_8.json' 'data llm_valid.json' 'data llm_test.json' \
    'data dataset_info.json' 'data manifest.json'; do expected+="$size: to do, not there"$'\n'; done
  for size in 'training of size 4' 'training of size 8' 'evaluation of zero-shot' 'evaluation of size 4' \
    'evaluation of size 8'; do expected+="$size: to do (data)"$'\n'; done
  equal "${expected}results: to do, they are drawn every time" "$steps"
  [[ ! -e $WORK/data && ! -e $WORK/saves && ! -e $LOGS && ! -e $OBJS ]]

  local train api
  train=$(grep '^    llamafactory-cli train ' "$WORK/output" | sed 's/^ *llamafactory-cli //')
  api=$(grep '^    env .* llamafactory-cli api ' "$WORK/output" | sed 's/.* llamafactory-cli //')
  script sweep.sh --sizes 4 8 --methods 'lora zero-shot'
  status_is 0
  equal "$(words "$train")" "$(words "$(sed -n 's/^CUDA_VISIBLE_DEVICES= train /train /p' "$STUB/calls")")"
  equal "$(words "$api")" "$(words "$(sed -n 's/.* api --/api --/p' "$STUB/calls")")"
  equal '0 0' "$(value "$LOGS/demo.preflight.json" problems) $(value "$LOGS/demo.preflight.json" warnings)"
}

@test "afterwards: what is done; a changed setting redoes what depends on it, and the plan says why" {
  script sweep.sh --sizes 4
  status_is 0
  local results='results: to do, they are drawn every time'
  local data="data: done ($WORK/data)"
  local training="training of size 4: done ($ADAPTERS/demo-llm_train_4)"
  local evaluation="evaluation of size 4: done ($OBJS/demo-llm_train_4.json)"

  planned --sizes 4
  equal "$data
$training
$evaluation
$results" "$steps"

  planned --sizes 4 --epochs 4
  equal "$data
training of size 4: to do, settings changed (num_train_epochs: 3.0 -> 4)
evaluation of size 4: to do (training)
$results" "$steps"

  planned --sizes 4 --max-tokens 8
  equal "$data
$training
evaluation of size 4: to do, max_tokens changed
$results" "$steps"

  planned --sizes 4 16
  equal "data llm_train_16.json: to do, not there
data dataset_info.json: to do, sizes changed
data manifest.json: to do, sizes changed
$training
training of size 16: to do (data)
$evaluation
evaluation of size 16: to do (training)
$results" "$steps"

  planned --sizes 4 --force
  said 'training of size 4: to do, --force' 'evaluation of size 4: to do (training)'

  echo 'a further document about something: word,Plants' >>"$WORK/rows.csv"
  planned --sizes 4
  said 'data llm_train_4.json: to do, source changed' 'training of size 4: to do (data)' 'evaluation of size 4: to do (training)'
}

@test "interrupted: the plan says where it goes on, and touches no torn checkpoint" {
  plan train-4 midway
  start sweep.sh --sizes 4
  reached 'train 4'
  signal TERM
  ended 143
  planned --sizes 4
  said 'training of size 4: to do, resume at step 2' 'evaluation of size 4: to do (training)'
  [[ -d $ADAPTERS/demo-llm_train_4/checkpoint-4 ]]

  plan api-4 held=6
  start sweep.sh --sizes 4
  reached 'api 4'
  signal INT
  ended 130
  planned --sizes 4
  said "training of size 4: done ($ADAPTERS/demo-llm_train_4)" 'evaluation of size 4: to do, 5 of 12 items have an answer'
}

@test "the profile tiny: what waits for the base model says so" {
  : >"$SETTINGS_FILE"
  export BASE_TEXTS=40 DATA_DIR=$WORK/data SAVES_DIR=$WORK/saves LOGS_DIR=$LOGS OBJS_DIR=$OBJS SIZES=9
  export METHODS='lora tfidf llm-embedding'
  script build_data.sh
  status_is 0
  planned
  equal "data: done ($WORK/data)
base model: to do
evaluation of tfidf, size 9: to do
llm-embedding: to do (base model)
data quality: to do
training of size 9: to do (base model)
evaluation of size 9: to do (base model)
results: to do, they are drawn every time" "$steps"
}

@test "on a GPU: the methods that wait for it are in the plan, too, after the evaluation" {
  with_data
  GPU=bf16 script sweep.sh --dry-run --device gpu --skip-preflight --sizes 4 --methods lora encoder --encoder /none
  status_is 0
  said 'encoder: left out: ENCODER=/none: no such folder'
  [[ $output == *'evaluation of size 4: to do'*'encoder: left out'*'results: to do'* ]]
}

@test "the training alone: from the top, however many it would work on at once" {
  script build_data.sh --sizes 4 8
  script train.sh --sizes 4 8 --train-jobs 2 --dry-run
  status_is 3
  equal $'training of size 4: to do\ntraining of size 8: to do' "$(grep -v '^    ' <<<"$output")"
}

@test "a dry run installs nothing" {
  FEWSHOT_VENV=$WORK/none script sweep.sh --dry-run
  status_is 2
  equal 'error: a dry run installs nothing, and the environment is not there yet; make it with: bin/setup.sh' "$output"
  [[ ! -e $WORK/none ]]
}

@test "the preflight: all problems at once before anything is made; the dry run says them too; it can be left out" {
  rm -- "$WORK/a model/config.json"
  local dry
  for dry in '' --dry-run; do
    GPU=none script sweep.sh --device gpu --template glm44 ${dry:+"$dry"}
    status_is 2
    said 'error: device: profile custom needs a CUDA GPU and none is visible to PyTorch; check nvidia-smi' \
      "error: template: LLaMA-Factory has no template 'glm44'; set TEMPLATE to the model's own; near it are glm4" \
      "error: model: $WORK/a model: incomplete, it lacks config.json; fetch it again (hf download " \
      'preflight: 3 problems; nothing was trained (SKIP_PREFLIGHT=1 goes on all the same)'
    equal '' "$(calls)"
    [[ ! -e $WORK/data && ! -e $WORK/saves && ! -e $OBJS/demo/results.json ]]
    [[ -z $dry ]] || continue
    equal 3 "$(value "$LOGS/demo.preflight.json" problems)"
    rm -r -- "$LOGS"
  done
  [[ ! -e $LOGS ]]
  plan train-4 exit
  script sweep.sh --template glm44 --skip-preflight --sizes 4
  status_is 1
  equal 'train 4' "$(calls)"
}

@test "examples that are longer than the cutoff are counted when the data are there" {
  plan train-4 exit exit
  script sweep.sh --sizes 4
  not_said 'lengths: '
  local longest rows=$WORK/data/llm_train_4.json
  longest=$(value "$LOGS/demo.preflight.json" checks -1 longest)
  script sweep.sh --sizes 4 --cutoff-len $((longest - 1))
  status_is 1
  said "of 4 examples of $rows will be cut at $((longest - 1)) tokens, the longest has $longest tokens; to keep them whole: CUTOFF_LEN="
  equal 'train 4, train 4' "$(calls)"
}
