#!/usr/bin/env bats
# bin/sweep.sh: what it says in the morning, however it ends, and whom it tells.

load helpers/common
load helpers/processes

setup() {
  make_work
  setting SIZES='(4 8)'
  setting SKIP_PREFLIGHT=1
}
teardown() { end_leftovers; }

# in_summary KEY...: of summary.json.
in_summary() { value "$OBJS/demo/summary.json" "$@"; }

# states: of all runs.
states() { in_summary runs | "$STUB_PYTHON" -I -c 'import json, sys; print(*(f"{s["size"]} {s["state"]}" for s in json.load(sys.stdin)), sep=", ")'; }

@test "done, failed, then skipped: the summary, its file, and ON_FINISH gets the text, without keys and tokens" {
  plan train-4 memory
  export HF_TOKEN=hf_secretsecret ON_FINISH='cat >"$WORK/told"; env >"$WORK/env"; cat /proc/*/cmdline 2>/dev/null | tr "\0" "\n" >"$WORK/processes"; echo sent'
  script sweep.sh
  status_is 1
  equal '4 failed, 8 done' "$(states)"
  said 'sweep demo: 1 of 2 runs done, 1 failed (status 1, ' '  N = 4  FAILED  training: CUDA out of memory; with MICRO_BATCH=1' \
    "log: $LOGS/demo-llm_train_4.train.log" '  N = 8  done    accuracy 0.5' "results: $OBJS/demo/report.html, $OBJS/demo/learning_curve.png"
  equal "$(<"$OBJS/demo/summary.txt")" "$(<"$WORK/told")"
  [[ $output == *"$(<"$OBJS/demo/summary.txt")" ]]
  equal sent "$(<"$LOGS/demo.on_finish.log")"
  grep -qx 'FEWSHOT_STATUS=1' "$WORK/env"
  grep -qxF "FEWSHOT_SUMMARY=$OBJS/demo/summary.json" "$WORK/env"
  run ! grep -E 'hf_secret|API_KEY' "$WORK/env"
  run ! grep -F 'echo sent' "$WORK/processes"
  run ! grep -rF hf_secretsecret "$LOGS" "$OBJS" "$WORK/output"

  ON_FINISH='exit 3' script sweep.sh
  status_is 0
  equal '4 done, 8 done' "$(states)"
  said 'sweep demo: 2 of 2 runs done (status 0, ' \
    "warning: ON_FINISH ended with status 3 (log: $LOGS/demo.on_finish.log)"
}

@test "other methods share a line after the answer; one that cannot run here is left out, and the sweep is well" {
  setting METHODS="'lora tfidf llm-embedding'"
  script sweep.sh
  status_is 0
  said 'llm-embedding: left out: the base model ' 'absent: llm-embedding, 2 runs: left out: the base model ' \
    'sweep demo: 4 of 6 runs done, 2 left out (status 0, ' '  tfidf          done      2 of 2 runs, macro F1 0.' \
    '  llm-embedding  left out  2 of 2 runs: the base model '
  [[ $(sed -n 2p "$OBJS/demo/summary.txt") == "$(value "$OBJS/demo/answer.json" sentence)" ]]
  run ! grep 'to go on' "$OBJS/demo/summary.txt"
}

@test "ON_FINISH is told also when no summary can be written" {
  NO_SUMMARY=1 ON_FINISH='cat >"$WORK/told"; echo "$FEWSHOT_STATUS,$FEWSHOT_SUMMARY" >>"$WORK/told"' script sweep.sh
  status_is 0
  equal "sweep demo: ended with status 0; its summary could not be written to $OBJS
0," "$(<"$WORK/told")"
}

@test "ended by a signal in the middle: what was begun is interrupted, what was not is not run, nothing earlier counts" {
  script sweep.sh
  status_is 0
  plan train-4 wait
  start sweep.sh --epochs 2
  reached 'train 4'
  [[ ! -e $OBJS/demo/summary.json ]] # the one of before is of another night
  signal TERM
  ended 143
  equal '4 interrupted, 8 not run' "$(states)"
  equal 'TERM absent' "$(in_summary ended_by) $(in_summary runs 1 metrics)"
  said 'sweep demo: 0 of 2 runs done, 1 interrupted, 1 not run (ended by TERM, ' 'N = 4  interrupted  training (' 'N = 8  not run'
}

@test "a step that all sizes need fails: the summary says which and why; one with nothing to tell writes none" {
  script sweep.sh --sizes 4 1000
  status_is 2
  said 'data: ended with status 2 after ' '  data      FAILED   ' 'error: ' 'rows to train on (of 60 rows: ' \
    'fewer than size 1000; what fits: SIZES='
  equal '4 not run, 1000 not run' "$(states)"
  equal '' "$(calls)"
  rm -r "$OBJS"
  script sweep.sh --sizes nonsense
  status_is 2
  [[ ! -e $OBJS ]]
}

@test "the preflight stops it: the summary says all that is in the way" {
  setting SKIP_PREFLIGHT=0
  script sweep.sh --template nonsense
  status_is 2
  said '  preflight  FAILED   template: '
  equal '' "$(calls)"
}

@test "ON_FINISH is told also when it hangs: it is ended" {
  setting SIZES='(1000)'
  # The minute that it has is made short: `timeout` of the environment comes first on PATH.
  printf '#!/bin/bash\nexec /usr/bin/timeout --kill-after 1 1 "${@:4}"\n' >"$FEWSHOT_VENV/bin/timeout"
  chmod +x "$FEWSHOT_VENV/bin/timeout"
  ON_FINISH='read <>"$STUB/go"' start sweep.sh
  ended 2
  said 'warning: ON_FINISH ended with status 124'
  nothing_left
}
