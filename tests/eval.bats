#!/usr/bin/env bats
# bin/eval.sh: the servers, when one counts as ready, what happens when it fails, that none is left.

load helpers/common
load helpers/processes

setup() { make_work; }
teardown() { end_leftovers; }

# api SIZE PORT: the line that the stub notes for the server of one size.
api() {
  local name=demo-llm_train_$1 adapter=()
  adapter=(--adapter_name_or_path "$ADAPTERS/$name" --finetuning_type lora)
  (($1 > 0)) || name=demo-zero-shot adapter=()
  printf 'CUDA_VISIBLE_DEVICES= API_HOST=127.0.0.1 API_PORT=%s key=32 API_MODEL_NAME=%s' "$2" "$name"
  printf ' %q' api --model_name_or_path "$WORK/a model" "${adapter[@]}" --template glm4 --infer_backend huggingface
  echo
}

@test "one server after the other, each size with its own adapter; a failed one does not stop the rest" {
  with_adapters
  for size in 0 4 8 16; do plan "api-$size" die; done
  script eval.sh --sizes 8 4 --methods 'lora zero-shot'
  status_is 1
  equal "$(api 0 "$PORT" && api 8 "$PORT" && api 4 "$PORT")" "$(<"$STUB/calls")"
  said "size 8: starting the server (log: $LOGS/demo-llm_train_8.server.log)" \
    "--- last lines of $LOGS/demo-llm_train_8.server.log" 'ValueError: the weights are not there' \
    "the server's process " ' ended after ' 'evaluation failed: zero-shot; size 8; size 4'
  nothing_left
  [[ ! -e $OBJS/demo-llm_train_8.json ]]
}

@test "the original's server flags with vLLM, no more tokens than the model takes; SERVER_ARGS come last" {
  echo '{"max_position_embeddings": 2048}' >"$WORK/a model/config.json"
  with_adapters
  plan api-4 die
  GPU=bf16 script eval.sh --sizes 4 --device gpu --backend vllm --server llamafactory --gpu-memory 0.7 --server-args '--vllm_maxlen 512 --vllm_gpu_util 0.8'
  equal "$(
    api 4 "$PORT" | sed 's/DEVICES= /DEVICES=0 /; s/huggingface$/vllm --vllm_enforce_eager --vllm_maxlen 2048 --vllm_maxlen 512 --vllm_gpu_util 0.8/'
  )" "$(<"$STUB/calls")"
}

@test "two at a time, behind a proxy: results of all sizes and the base model; then all is skipped, and --force" {
  with_adapters
  plan api-16 wait
  plan api-4 wait
  export HTTP_PROXY=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 http_proxy=http://127.0.0.1:9 ALL_PROXY=http://127.0.0.1:9
  start eval.sh --sizes 4 16 --eval-jobs 2 --methods 'lora zero-shot'
  reached_both 'api 16' 'api 4'
  no_key_in <(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n')
  release
  release
  ended 0
  nothing_left
  [[ $(calls) == *', api 0' ]] # when the first of the two was done
  local size
  for size in zero-shot 4 16; do evaluated $size; done
  equal '12 12 absent' "$(values "$OBJS/demo-zero-shot.json" 'counts items' 'counts not_in_labels' adapter)"
  said 'zero-shot: accuracy 0.0000, macro F1 0.0000; 12 of 12 answers outside the labels'
  # Each server had a key of its own, which neither a log, a result nor a command line shows.
  equal 3 "$(sort -u "$STUB/keys" | grep -cE '^[0-9a-f]{32}$')"
  no_key_in "$LOGS" "$OBJS" "$STUB/calls" "$WORK/output"

  : >"$STUB/calls"
  script eval.sh --sizes 4 16 --methods 'lora zero-shot'
  status_is 0
  equal "zero-shot: already evaluated ($OBJS/demo-zero-shot.json)
size 4: already evaluated ($OBJS/demo-llm_train_4.json)
size 16: already evaluated ($OBJS/demo-llm_train_16.json)" "$output"
  equal '' "$(calls)"

  script eval.sh --sizes 4 --force
  status_is 0
  equal 'api 4' "$(calls)"
  said "$OBJS/demo-llm_train_4.json: to be made anew; the old one is $OBJS/replaced/demo-llm_train_4.json-" \
    "$OBJS/demo-llm_train_4.predictions.jsonl: made anew (--force); the old one is "
  evaluated 4
  equal "$(value "$(echo "$OBJS"/replaced/demo-llm_train_4.json-*)" metrics)" "$(value "$OBJS/demo-llm_train_4.json" metrics)"
}

@test "a slow server is waited for; a server that answers /v1/models but no completion is not ready" {
  with_adapters
  plan api-4 wait
  start eval.sh --sizes 4
  reached 'api 4'
  run ! listens "$PORT"
  release
  ended 0
  said 'ready after ' "size 4: evaluating on http://127.0.0.1:$PORT/v1"
  evaluated 4
  plan api-8 models
  script eval.sh --sizes 4 8 --ready-timeout 20
  status_is 1
  said 'size 4: already evaluated' 'not ready after ' \
    'last: HTTP 500: {"error": "the adapter does not fit"}' "--- last lines of $LOGS/demo-llm_train_8.server.log" \
    'stub: api of size 8: models' 'evaluation failed: size 8'
  [[ ! -e $OBJS/demo-llm_train_8.json ]]
  nothing_left
}

@test "a busy port: another is taken, also when it was taken between the look and the start" {
  with_adapters
  occupy "$PORT"
  plan api-4 stolen=bound
  script eval.sh --sizes 4 --split valid --server-restarts 0
  status_is 0
  said "port $PORT is in use; taking $((PORT + 1))" "port $((PORT + 1)) is another program's, not our server's" \
    'address already in use' "size 4: evaluating on http://127.0.0.1:$((PORT + 2))/v1"
  equal "$(api 4 $((PORT + 1)) && api 4 $((PORT + 2)))" "$(<"$STUB/calls")"
  evaluated 4 valid
}

@test "no port is free: said, with what mends it" {
  with_adapters
  listens 65535 || occupy 65535
  script eval.sh --sizes 4 --api-port 65535
  status_is 1
  said 'error: no free port from 65535 to 65535 on 127.0.0.1; set API_PORT to another range, or see who listens: ss -ltnp'
  equal '' "$(calls)"
}

@test "a server that dies or hangs in the middle is replaced; answers are kept, none is asked twice" {
  with_adapters
  export RETRIES=0
  plan api-4 die=3
  script eval.sh --sizes 4 --server-restarts 0
  status_is 1
  said 'size 4: the server ended in the middle, with status 1' 'RuntimeError: the engine is dead' \
    'size 4: not evaluated after 1 server(s); run the same command again to go on'
  [[ ! -e $OBJS/demo-llm_train_4.json ]]
  plan api-4 hang=3 ok
  script eval.sh --sizes 4 --concurrency 8 --request-timeout 5 --force
  status_is 0
  said 'made anew (--force)' 'evaluation incomplete: 2 of 12 items answered' 'no answer within 5 s' \
    'size 4: starting a new server (1 of 2); answers so far are kept'
  evaluated 4
  equal 2 "$(value "$OBJS/demo-llm_train_4.json" timings resumed)" # the second server's evaluator began anew no more
  nothing_left
}

@test "a server that refuses is not replaced: a new one would refuse as well" {
  with_adapters
  plan api-4 refuse
  script eval.sh --sizes 4
  status_is 1
  said 'error: size 4: the server refuses: item 0: HTTP 401: {"error": "no such key"}' 'evaluation failed: size 4'
  equal 'api 4' "$(calls)"
  no_key_in "$LOGS" "$OBJS" <(printf '%s' "$output")
  nothing_left
}

@test "a server that is deaf to TERM is killed after STOP_TIMEOUT, and so is the child of one that died" {
  with_adapters
  plan api-4 stubborn
  plan api-8 child
  script eval.sh --sizes 4 8 --stop-timeout 1 --eval-limit 3
  status_is 1
  said 'warning: the server of size 4 did not end within 1 s of TERM; killing it' \
    'warning: the server of size 8 did not end within 1 s of TERM; killing it' 'evaluation failed: size 8'
  equal 3 "$(value "$OBJS/demo-llm_train_4.json" counts items)"
  nothing_left
}

@test "INT, TERM and HUP while the server starts: it is ended, nothing is left" {
  with_adapters
  local signal
  for signal in INT:130 TERM:143 HUP:129; do
    plan api-4 wait
    start eval.sh --sizes 4
    reached 'api 4'
    signal "${signal%:*}"
    ended "${signal#*:}"
    nothing_left
  done
  plan api-8 wait
  plan api-16 wait
  start eval.sh --eval-jobs 2
  reached_both 'api 16' 'api 8'
  signal INT
  ended 130
  nothing_left
}

@test "TERM and HUP while it is asked: the answers so far are kept, and in the end all are there once" {
  with_adapters
  local signal
  for signal in TERM:143 HUP:129; do
    plan api-4 held=4
    start eval.sh --sizes 4
    reached 'api 4'
    signal "${signal%:*}"
    ended "${signal#*:}"
    nothing_left
    [[ ! -e $OBJS/demo-llm_train_4.json ]] || fail 'it looks finished'
  done
  script eval.sh --sizes 4
  status_is 0
  equal '6 6' "$(value "$OBJS/demo-llm_train_4.json" timings resumed) $(value "$OBJS/demo-llm_train_4.json" timings answered)"
  evaluated 4
}

@test "TERM, and an impatient second one, while a deaf server is ended: it is killed all the same" {
  with_adapters
  plan api-4 stubborn
  start eval.sh --sizes 4 --stop-timeout 10
  reached 'api 4 was told to end'
  signal TERM
  reached 'api 4 was told to end'
  signal TERM
  ended 143
  nothing_left
  evaluated 4 # it was complete
}

@test "a size that is not trained, or whose training failed: said, the others are evaluated" {
  with_adapters
  rm -r "$ADAPTERS/demo-llm_train_4"
  echo '{"status": "failed", "reason": "bad luck"}' >"$ADAPTERS/demo-llm_train_8/training.json"
  plan api-16 die
  script eval.sh
  status_is 1
  said "error: size 4: not evaluated, it was not trained ($ADAPTERS/demo-llm_train_4); run bin/train.sh" \
    'error: size 8: not evaluated, its training failed: bad luck (' \
    'size 16: starting the server' 'evaluation failed: size 4; size 8; size 16'
  equal 'api 16' "$(calls)"
  rm -r "$WORK/data"
  script eval.sh --sizes 16
  status_is 2
  equal "error: $WORK/data: there is no data; make it with bin/build_data.sh" "$output"
}

@test "an adapter that is not applied: its answers equal the base model's, the size has failed, the others are evaluated" {
  with_adapters
  setting ADAPTER_CHECK=1
  plan api-4 unapplied
  script eval.sh --sizes 4 8
  status_is 1
  equal 'api 0, api 4, api 8' "$(calls)"
  said 'size 4: first the base model is asked, to tell an adapter that is not applied' \
    "all 8 answers of the probe set equal the base model's: the adapter is not applied" 'evaluation failed: size 4'
  [[ ! -e $OBJS/demo-llm_train_4.json && ! -e $OBJS/demo-llm_train_4.predictions.jsonl ]]
  evaluated 8
  # The base model's answers are kept; what is evaluated needs none.
  : >"$STUB/calls"
  script eval.sh --sizes 4 8
  status_is 0
  equal 'api 4' "$(calls)"
  evaluated 4
  nothing_left
}

@test "the base model's answers are asked once, however many sizes need them at once" {
  with_adapters
  setting ADAPTER_CHECK=1
  script eval.sh --eval-jobs 3
  status_is 0
  equal 'api 0, api 16, api 4, api 8' "$(calls | sed 's/, /\n/g' | sort | paste -sd, | sed 's/,/, /g')"
  nothing_left
  rm "$OBJS"/*
  plan api-0 die
  script eval.sh --sizes 4
  status_is 1
  said 'size 4: not evaluated, the base model could not be asked; --adapter-check 0 goes without'
  nothing_left
}

@test "KILL of the program that evaluates: it is started once more, the answers so far are kept" {
  with_adapters
  plan api-4 held=5 ok
  start eval.sh --sizes 4
  reached 'api 4'
  kill_the py/eval.py
  ended 0
  said 'size 4: its evaluation was killed; starting it once more'
  equal 4 "$(value "$OBJS/demo-llm_train_4.json" timings resumed)"
  equal 'api 4, api 4' "$(calls)"
  evaluated 4
  nothing_left
}

@test "KILL of the script ends the servers and evaluators of all its workers" {
  with_adapters
  plan api-16 held=3
  plan api-8 wait
  start eval.sh --eval-jobs 2
  reached_both 'api 16' 'api 8'
  disown "$STARTED"
  kill -KILL "$STARTED"
  patiently nothing_runs
  script eval.sh --eval-jobs 2
  status_is 0
  for size in 4 8 16; do evaluated $size; done
}

@test "DEBUG=1 traces no key, and what is written is not for everyone to change" {
  with_adapters
  umask 0
  DEBUG=1 script eval.sh --sizes 4
  status_is 0
  no_key_in "$LOGS" "$OBJS" "$WORK/output"
  equal '' "$(find "$LOGS" "$OBJS" -perm -o+w)"
}

@test "k-shot: the base model with examples in the prompt, for each size; then it is skipped" {
  with_adapters
  script eval.sh --sizes 4 8 --methods k-shot --dry-run
  status_is 3
  said 'evaluation of k-shot, size 4: to do' 'evaluation of k-shot, size 8: to do'
  script eval.sh --sizes 4 8 --methods k-shot
  status_is 0
  equal "$(api 0 "$PORT" && api 0 "$PORT")" "$(<"$STUB/calls")"
  local size
  for size in 4 8; do
    equal "k-shot $size $size 12 absent" \
      "$(values "$OBJS/demo-k-shot_$size.json" method size examples_in_prompt 'counts items' adapter)"
  done
  script eval.sh --sizes 4 --methods k-shot
  status_is 0
  equal "k-shot, size 4: already evaluated ($OBJS/demo-k-shot_4.json)" "$output"

  echo '{"max_position_embeddings": 90}' >"$WORK/a model/config.json"
  script eval.sh --sizes 4 --methods k-shot
  status_is 1
  said "error: k-shot, size 4: not one example fits: of the context's 90 tokens " 'take k-shot out of METHODS'
  nothing_left
}
