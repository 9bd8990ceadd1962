#!/usr/bin/env bats
# bin/sweep.sh: all steps with the same settings, going on after any interruption, one sweep at a time.

load helpers/common
load helpers/processes

setup() { make_work; }
teardown() { end_leftovers; }

# column NAME: of results.csv, without the head.
column() {
  "$STUB_PYTHON" -I -c 'import csv, sys
print(*[row[sys.argv[1]] for row in csv.DictReader(open(sys.argv[2], encoding="utf-8-sig"))])' "$1" "$OBJS/demo/results.csv"
}

@test "a size fails in the middle of the night, settings.sh is edited: the rest goes on as it began; the next sweep does it alone" {
  cd "$WORK"
  mkdir here
  plan train-4 crash
  plan train-8 wait
  SIZES='4 8' OBJS_DIR=objs start sweep.sh --train-file rows.csv --epochs 2
  reached 'train 8'
  setting SIZES='(16)'
  setting TEMPLATE=qwen
  release
  ended 1
  nothing_left
  equal 'train 4, train 8, api 8' "$(calls)"
  equal 3 "$(grep -c -- '--template glm4' "$STUB/calls")"
  equal 2 "$(grep -c -- '--num_train_epochs 2' "$STUB/calls")"
  said "sweep demo: sizes 4 8, seeds 42, model $WORK/a model, on the CPU" 'data: done in ' \
    'training failed: size 4' 'training: ended with status 1 after ' \
    'error: size 4: not evaluated, its training failed: ' 'evaluation failed: size 4' \
    'absent: size 4: training failed: ' 'results: done in ' "results: $OBJS/demo/report.html, $OBJS/demo/learning_curve.png"
  equal 8 "$(column size)"
  [[ -s $OBJS/demo/learning_curve.png && -s $OBJS/demo/learning_curve.svg ]]

  setting TEMPLATE=glm4
  setting EPOCHS=2
  : >"$STUB/calls"
  SIZES='4 8' script sweep.sh
  status_is 0
  equal 'train 4, api 4' "$(calls)"
  said "data: up to date ($WORK/data)" 'size 8: already trained' 'size 8: already evaluated'
  equal '4 8' "$(column size)"
  evaluated 4
  evaluated 8
}

@test "interrupted in every step, with every signal: nothing is left, and the same command goes on to the same results" {
  setting SIZES='(4)'
  setting STOP_TIMEOUT=1
  HOLD=build_data.py start sweep.sh
  reached py/build_data.py
  signal INT
  ended 130
  nothing_left

  # However short it is, the sweep itself waits until train.sh has ended its trainer.
  plan train-4 stubborn
  start sweep.sh --stop-timeout 0
  reached 'train 4'
  signal TERM
  ended 143
  said 'warning: the training of size 4 did not end within 0 s of TERM; killing it'
  nothing_left
  [[ ! -e $ADAPTERS/demo-llm_train_4/training.json ]]

  plan api-4 wait
  start sweep.sh
  reached 'api 4'
  signal HUP
  ended 129
  nothing_left

  plan api-4 held=6
  start sweep.sh
  reached 'api 4'
  signal INT
  ended 130
  nothing_left
  [[ ! -e $OBJS/demo-llm_train_4.json ]]

  plan api-4 stubborn
  start sweep.sh --stop-timeout 10
  reached 'api 4 was told to end'
  signal TERM
  ended 143
  nothing_left

  rm -r "$STUB/held"
  HOLD=see_results.py start sweep.sh
  reached py/see_results.py
  signal HUP
  ended 129
  nothing_left
  [[ ! -e $OBJS/demo/results.csv ]]

  : >"$STUB/calls"
  script sweep.sh
  status_is 0
  equal '' "$(calls)"
  equal 4 "$(column size)"
  equal '5 7' "$(value "$OBJS/demo-llm_train_4.json" timings resumed) $(value "$OBJS/demo-llm_train_4.json" timings answered)"
  evaluated 4
  # One adapter, made once: nothing was done twice and put aside.
  [[ ! -e $ADAPTERS/replaced && ! -e $OBJS/replaced ]]
}

@test "two sweeps at once on one folder of results: the second says who has it; lock and steps end with the first, even by KILL" {
  HOLD=build_data.py start sweep.sh
  reached py/build_data.py
  script sweep.sh
  status_is 2
  said "error: another sweep writes to $OBJS: process $STARTED, started " '; wait for it, or give this one another OBJS_DIR, SAVES_DIR and LOGS_DIR'
  disown "$STARTED"
  kill -KILL "$STARTED"
  patiently flock -n "$OBJS/.sweep.lock" true
  patiently nothing_runs # the kernel told the step, which ended what it had started
}

@test "all sizes failed: status 1" {
  plan train-4 exit
  script sweep.sh --sizes 4
  status_is 1
  said 'training failed: size 4' "error: $OBJS: no evaluation record of 'demo', split test; "
  equal 'train 4' "$(calls)"
}

@test "the profile tiny: its base model is pretrained first, and once" {
  : >"$SETTINGS_FILE"
  export BASE_TEXTS=40 DATA_DIR=$WORK/data SAVES_DIR=$WORK/saves LOGS_DIR=$LOGS OBJS_DIR=$OBJS SIZES=9 METHODS=lora
  plan train-9 exit exit
  script sweep.sh
  status_is 1
  equal 'train base, train 9' "$(calls)"
  said "base model: " " parameters, pretrained, loss " "sweep tiny: sizes 9, seeds 42, model $WORK/saves/tiny/base, on the CPU"
  [[ $(tail -n 1 "$STUB/calls") == *" --model_name_or_path $(printf %q "$WORK/saves/tiny/base") "* ]]
  script sweep.sh
  equal 'train base, train 9, train 9' "$(calls)"
  said "base model: already there ($WORK/saves/tiny/base)"
}

@test "MODELS: a sweep for each model on the same data, one that fails aside, and the results of all" {
  : >"$SETTINGS_FILE"
  export BASE_TEXTS=40 DATA_DIR=$WORK/data SAVES_DIR=$WORK/saves LOGS_DIR=$LOGS OBJS_DIR=$OBJS SIZES='4 8' METHODS='lora tfidf'
  export TRAIN_FILE=$WORK/rows.csv SWEEP_NAME=both
  script sweep.sh --models tiny tiny-deep
  status_is 0
  said "sweep both-tiny: sizes 4 8, seeds 42, model $WORK/saves/tiny/base, on the CPU" 'sweep both-tiny: 4 of 4 runs done' \
    "data: up to date ($WORK/data)" "sweep both-tiny-deep: sizes 4 8, seeds 42, model $WORK/saves/tiny-deep/base, on the CPU" \
    'sweep both-tiny-deep: 2 of 2 runs done' "written to $OBJS/both: results.csv, results.json"
  equal 4 "$("$STUB_PYTHON" -I -c 'import json, sys; print(json.load(open(sys.argv[1]))["num_hidden_layers"])' "$WORK/saves/tiny-deep/base/config.json")"
  [[ -s $OBJS/both/learning_curve.svg ]]

  script sweep.sh --models 'tiny tiny-deep' --dry-run
  status_is 0
  said 'training of size 4: done' 'training of size 8: done'
  METHODS=auto script sweep.sh --models 'tiny tiny-deep' --dry-run
  # What needs no language model, for the first model alone.
  equal 2 "$(grep -c 'embedding.*: to do' <<<"$output")"
  script chat.sh --models 'tiny tiny-deep'
  status_is 2
  equal "error: with MODELS each model has a sweep of its own; with the settings of one: \
FEWSHOT_SETTINGS=$(printf %q "$LOGS/both-tiny.settings.json") bin/chat.sh RUN" "$output"
  FEWSHOT_SETTINGS=$LOGS/both-tiny-deep.settings.json script chat.sh both-tiny-deep-llm_train_8 --ask x
  status_is 0
  script sweep.sh --models tiny tiny
  status_is 2
  equal 'error: MODELS (from --models) has tiny twice' "$output"
  script sweep.sh --models 'tiny tiny-deep' --methods 'tfidf embedding'
  status_is 2
  equal 'error: METHODS=tfidf embedding has nothing that differs from model to model; add lora to METHODS, or unset MODELS' "$output"
  script sweep.sh --models tiny --model x/y --template qwen
  status_is 2
  equal 'error: MODELS and MODEL contradict each other; MODELS holds profiles, each with a model of its own' "$output"
}
