#!/usr/bin/env bats
# bin/eval.sh with SERVER=vllm: one server for the base model and all adapters, its end and its death, and the sweep that
# evaluates while it trains.

load helpers/common
load helpers/processes
load helpers/one_server

setup() {
  make_work
  one_server
}
teardown() { end_leftovers; }

@test "one server for all: the command, every size asked by its own name, no key anywhere" {
  with_adapters
  setting CONCURRENCY=8
  script eval.sh --methods 'lora zero-shot' --lora-rank 12
  status_is 0
  equal "CUDA_VISIBLE_DEVICES=0 VLLM_ALLOW_RUNTIME_LORA_UPDATING=True key=32 serve $WORK/a\\ model --generation-config vllm --chat-template $WORK/saves/a_model/glm4.jinja --dtype bfloat16 --max-model-len 4096 --gpu-memory-utilization 0.9 --enable-prefix-caching --enable-lora --max-lora-rank 16 --max-loras 3 --max-cpu-loras 8 --enforce-eager --host 127.0.0.1 --port $PORT --served-model-name demo-zero-shot" \
    "$(sed "s|$WORK/a model|$WORK/a\\\\ model|" "$STUB/calls" | sed 's|with\\ a\\ space|with a space|g; s|with a space/a model|with a space/a\\ model|')"
  local size
  for size in zero-shot 4 8 16; do evaluated $size; done
  equal 'vllm vllm' "$(value "$OBJS/demo-llm_train_8.json" server) $(value "$OBJS/demo-llm_train_8.json" backend)"
  no_key_in "$LOGS" "$OBJS" "$STUB/calls" "$WORK/output"
  nothing_left
  : >"$STUB/calls"
  script eval.sh --methods 'lora zero-shot'
  status_is 0
  equal '' "$(<"$STUB/calls")" # no server for what is there
}

@test "vLLM's front end in Rust: without the flag that it lacks, and not where others ask" {
  # shellcheck disable=SC2016,SC2034 # of the other bash
  run "$BASH" -p -c 'source bin/eval.sh
    RUNS=() MODEL=m SAVES_DIR=s MODEL_NAME=m TEMPLATE=t PRECISION=bf16 GPU_MEMORY=0.5 MAX_LORA_RANK=16
    KV_CACHE_BYTES=0 SERVER_ARGS= RUST_FRONT=1 SERVER_GRAPHS=0
    vllm_command
    echo "${SERVER_COMMAND[@]:0:6}" "${SERVER_COMMAND[-1]}"
    [[ " ${SERVER_COMMAND[*]} " != *generation* ]]
    SERVER_GRAPHS=1
    vllm_command
    echo "${SERVER_COMMAND[@]:0:8}" "${SERVER_COMMAND[@]: -2}"'
  equal "env VLLM_USE_RUST_FRONTEND=1 VLLM_RUNTIME_LORA_ALLOWED_PATH_PREFIXES=/ vllm serve m --enforce-eager
env VLLM_USE_BREAKABLE_CUDAGRAPH=1 env VLLM_USE_RUST_FRONTEND=1 VLLM_RUNTIME_LORA_ALLOWED_PATH_PREFIXES=/ vllm serve m --compilation-config"' {"cudagraph_mode": "PIECEWISE", "cudagraph_capture_sizes": [4, 16, 64, 256, 1024]}' "$output"
  ((status == 0))
}

@test "CUDA graphs do not pay in a job of a cluster, which asks a part of all runs" {
  # shellcheck disable=SC2016 # of the other bash
  run "$BASH" -p -c 'source bin/lib/all.bash
    MODEL=m KV_CACHE_BYTES=0 DRY_RUN=0 USE_MODELSCOPE_HUB=0 DEVICE=gpu GPUS=(0) SERVER_GRAPHS=1
    use_hardware && echo "$SERVER_GRAPHS"
    FEWSHOT_RUNS=demo-llm_train_4
    use_hardware && echo "$SERVER_GRAPHS"'
  equal $'1\n0' "$output"
}

@test "vLLM's front end in Rust does not start: the one in Python serves" {
  with_data
  echo '{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "vocab_size": 1000,
    "num_attention_heads": 4, "num_key_value_heads": 2}' >"$WORK/a model/config.json"
  mkdir -p -- "$WORK/packages/vllm"
  touch -- "$WORK/packages/vllm/"{__init__.py,vllm-rs}
  chmod +x -- "$WORK/packages/vllm/vllm-rs"
  rm -- "$FEWSHOT_VENV/bin/vllm"
  cat >"$FEWSHOT_VENV/bin/vllm" <<END
#!/usr/bin/env -S bash -p
[[ -z \${VLLM_USE_RUST_FRONTEND-} ]] || { echo 'not implemented in Rust frontend yet' && exit 1; }
exec '$PROJECT/tests/stubs/vllm' "\$@"
END
  chmod +x "$FEWSHOT_VENV/bin/vllm"
  packages_are_found
  script eval.sh --methods zero-shot
  status_is 0
  said 'not implemented in Rust frontend yet' "the server is started again, with vLLM's front end in Python"
  [[ $(<"$STUB/calls") == *' --generation-config vllm '* ]] || fail "$(<"$STUB/calls")"
  evaluated zero-shot
}

@test "a model that fits the GPU at 4 bits only and takes 2048 tokens: so the server gets it" {
  with_data
  echo '{"model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "intermediate_size": 28672, "vocab_size": 128256,
    "num_attention_heads": 64, "num_key_value_heads": 8, "max_position_embeddings": 2048}' >"$WORK/a model/config.json"
  mkdir -- "$WORK/packages"
  touch -- "$WORK/packages/bitsandbytes.py" # is found, wherever the tests run
  packages_are_found
  script eval.sh --methods zero-shot
  status_is 0
  equal ' --dtype bfloat16 --quantization bitsandbytes --max-model-len 2048' "$(grep -o ' --dtype .* --max-model-len 2048' "$STUB/calls")"
  evaluated zero-shot
}

@test "it dies in the middle: a new one, and every size goes on with the answers that it has" {
  with_adapters
  export RETRIES=0
  plan serve-all die=9 ok
  script eval.sh
  status_is 0
  said 'the server ended in the middle, with status 1' 'RuntimeError: the engine is dead' \
    'starting a new server (1 of 2) for size '
  for size in 4 8 16; do evaluated $size; done
  nothing_left
  [[ ! -e $OBJS/replaced ]]

  plan serve-all die=9 die=2
  script eval.sh --server-restarts 1 --force
  status_is 1
  said 'not evaluated after 2 server(s): ' 'evaluation failed: size 4; size 8; size 16'
  nothing_left

  plan serve-all die
  script eval.sh
  status_is 1
  said 'ValueError: the weights are not there' 'evaluation failed: size 4; size 8; size 16'
  nothing_left
}

@test "it hangs: that is noticed, it is replaced" {
  with_adapters
  export RETRIES=0
  setting CONCURRENCY=8
  plan serve-all hang=9 ok
  script eval.sh --request-timeout 5
  status_is 0
  said 'no answer within 5 s' 'starting a new server (1 of 2) for size '
  for size in 4 8 16; do evaluated $size; done
  nothing_left
}

@test "TERM in the middle, KILL in the middle: nothing is left, the next run goes on" {
  with_adapters
  plan serve-all held=5
  start eval.sh
  reached 'api all'
  signal TERM
  ended 143
  nothing_left
  plan serve-all held=5
  start eval.sh
  reached 'api all'
  disown "$STARTED"
  kill -KILL "$STARTED"
  patiently nothing_runs
  script eval.sh
  status_is 0
  for size in 4 8 16; do evaluated $size; done
}

@test "an adapter that is not applied, one that cannot be loaded, one that was not trained: they fail alone" {
  with_adapters
  setting ADAPTER_CHECK=1
  plan serve-all unapplied
  script eval.sh --sizes 4
  status_is 1
  said "all 8 answers of the probe set equal the base model's: the adapter is not applied" '--adapter-check 0 evaluates it'
  rm -r "$ADAPTERS/demo-llm_train_8"
  rm "$ADAPTERS/demo-llm_train_16/adapter_config.json"
  script eval.sh
  status_is 1
  said "size 8: not evaluated, it was not trained" 'evaluation failed: size 8; size 16'
  evaluated 4
  nothing_left
}

@test "--constrain: a second score beside the free one" {
  with_adapters
  script eval.sh --sizes 4 --methods 'lora zero-shot' --constrain
  status_is 0
  equal '0 12' "$(value "$OBJS/demo-zero-shot.json" counts in_labels) $(value "$OBJS/demo-zero-shot.json" constrained counts in_labels)"
  evaluated zero-shot
  script eval.sh --sizes 4 --server llamafactory --constrain
  status_is 2
  equal 'error: CONSTRAIN=1 needs SERVER=vllm: llamafactory-cli api cannot be told the possible answers' "$output"
}

@test "SERVER=vllm and what it cannot be together with" {
  script eval.sh --backend huggingface
  status_is 2
  equal 'error: SERVER=vllm and BACKEND=huggingface contradict each other; vllm serve has one engine' "$output"
  with_adapters
  script eval.sh --lora-rank 600
  status_is 2
  said 'error: LORA_RANK=600: vLLM serves adapters up to rank 512; set SERVER=llamafactory BACKEND=huggingface'
}

@test "OVERLAP=1: each size is evaluated as soon as it is trained; one that fails does not hold up the others" {
  setting OVERLAP=1
  setting SKIP_PREFLIGHT=1
  plan train-4 crash
  plan train-16 wait
  start sweep.sh
  reached 'train 16'
  patiently test -e "$OBJS/demo-llm_train_8.json" # while 16 is being trained
  release
  ended 1
  nothing_left
  said 'size 4: not evaluated, its training failed' 'training failed: size 4' 'evaluation failed: size 4' \
    'sweep demo: 2 of 3 runs done, 1 failed'
  equal 1 "$(grep -c ' serve ' "$STUB/calls")"
  evaluated 8
  evaluated 16

  : >"$STUB/calls"
  script sweep.sh
  status_is 0
  equal 'train 4' "$(calls)"
  evaluated 4
  : >"$STUB/calls"
  GRACE=1 script sweep.sh
  equal '' "$(<"$STUB/calls")"
}

@test "OVERLAP=1: the base model is asked while all is being trained" {
  setting OVERLAP=1
  setting METHODS="'lora zero-shot'"
  setting SKIP_PREFLIGHT=1
  setting SIZES='(4)'
  plan train-4 wait
  start sweep.sh
  reached 'train 4'
  patiently test -e "$OBJS/demo-zero-shot.json"
  release
  ended 0
  nothing_left
  evaluated zero-shot
  evaluated 4
}

@test "OVERLAP=1: a server that cannot be started beside the training is started again after it" {
  setting OVERLAP=1
  setting SKIP_PREFLIGHT=1
  plan serve-all die ok
  plan train-16 wait
  start sweep.sh
  reached 'train 16'
  patiently grep -qF 'the server could not be started beside the training; it is started again when that has ended' "$WORK/output"
  equal 1 "$(grep -c ' serve ' "$STUB/calls")"
  release
  ended 0
  nothing_left
  equal 2 "$(grep -c ' serve ' "$STUB/calls")"
  for size in 4 8 16; do evaluated $size; done
}

@test "OVERLAP=1: servers that die beside the training are followed by one after it" {
  setting OVERLAP=1
  setting SKIP_PREFLIGHT=1
  setting SERVER_RESTARTS=0
  plan serve-all die=9 ok
  plan train-16 wait
  start sweep.sh
  reached 'train 16'
  patiently grep -qF '1 server(s) ended beside the training; the next one is started when that has ended' "$WORK/output"
  equal 1 "$(grep -c ' serve ' "$STUB/calls")"
  release
  ended 0
  nothing_left
  for size in 4 8 16; do evaluated $size; done
}

@test "several GPUs: a trainer on each; the server beside the training on the last" {
  with_data
  for size in 4 8 16; do plan "train-$size" exit; done
  GPU_COUNT=3 script train.sh --train-jobs 3
  status_is 1
  equal '0 1 2' "$(sed -n 's/^CUDA_VISIBLE_DEVICES=\([0-9]*\) train .*/\1/p' "$STUB/calls" | sort | xargs)"
  : >"$STUB/calls"
  setting OVERLAP=1
  setting SKIP_PREFLIGHT=1
  for size in 4 8 16; do plan "train-$size" ok; done
  GPU_COUNT=3 script sweep.sh
  status_is 0
  equal 2 "$(sed -n 's/^CUDA_VISIBLE_DEVICES=\([0-9]*\) .*serve .*/\1/p' "$STUB/calls")"
  # And there alone, too: of that GPU the plan has its memory.
  : >"$STUB/calls"
  GPU_COUNT=3 script eval.sh --force
  equal 2 "$(sed -n 's/^CUDA_VISIBLE_DEVICES=\([0-9]*\) .*serve .*/\1/p' "$STUB/calls")"
}

@test "methods that wait for the GPU: a step of its own, which leaves the other methods' outcome as it was" {
  setting OVERLAP=1
  setting SKIP_PREFLIGHT=1
  script sweep.sh --sizes 4 --methods lora encoder --encoder /none
  status_is 0
  said 'gpu baselines: done in ' 'encoder: left out: ENCODER=/none: no such folder'
  local step
  for step in baselines gpu-baselines; do
    equal "${step/-/ } done" "$(value "$LOGS/demo.outcomes/$step.json" step) $(value "$LOGS/demo.outcomes/$step.json" state)"
  done
}

@test "OVERLAP=1, KILL of the training script: its sizes have failed, the rest ends" {
  setting OVERLAP=1
  setting SKIP_PREFLIGHT=1
  setting SIZES='(4)'
  plan train-4 wait
  start sweep.sh
  reached 'train 4'
  kill_the bin/train.sh
  ended 137
  patiently nothing_runs
  nothing_left
  [[ ! -e $OBJS/demo-llm_train_4.json ]]
  script sweep.sh
  status_is 0
  evaluated 4
}

@test "bench/server.sh: what the server can take, what our evaluation takes, how close the answers are" {
  with_adapters
  export BENCH_DIR="$WORK/bench" BENCH_MARGINS=1 EVAL_LIMIT=5
  ran "$PROJECT/bench/server.sh" --sizes 8
  status_is 0
  said 'our evaluation takes '
  nothing_left
  local found
  found=$(
    python3 - "$BENCH_DIR" <<'END'
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
for one in json.loads((folder / "server.json").read_text())["runs"]:
    plain = json.loads((folder / f"plain.{one['run']}.json").read_text())
    ours = json.loads((folder / f"ours/{one['run']}.json").read_text())
    close = json.loads((folder / f"margins.{one['run']}.json").read_text())
    lines = (folder / f"ours/{one['run']}.predictions.jsonl").read_text().splitlines()[1:]
    answers = [line["pred"] for line in sorted(map(json.loads, lines), key=lambda line: line["index"])]
    print(one["size"], one["items"], plain["preds"] == close["preds"] == answers, close["margins"])
    assert one["plain"] == plain["items_per_second"]
    assert one["ours"] >= one["ours_with_start"] == ours["timings"]["items_per_second"]
    assert abs(one["share"] - one["ours"] / one["plain"]) < 0.01
END
  )
  equal '8 5 True [0.75, 0.75, 0.75, 0.75, 0.75]' "$found"
}

@test "all that load a model of the hub are told the commit of its revision; of another one nothing is asked" {
  local old new folder=$WORK/hf/hub/models--own--er
  printf -v old 'a%.0s' {1..40}
  new=${old//a/b}
  export HF_HOME=$WORK/hf HF_HUB_OFFLINE=1 MODEL=own/er SIZES=4
  mkdir -p -- "$folder/snapshots/$old" "$folder/refs"
  cp -- "$WORK/a model"/* "$folder/snapshots/$old"
  cp -r -- "$folder/snapshots/$old" "$folder/snapshots/$new"
  printf %s "$old" >"$folder/refs/v1"
  printf %s "$new" >"$folder/refs/main"
  with_data

  script train.sh --model own/none
  status_is 2
  equal 'error: MODEL=own/none: neither the cache nor the hub tells which revision it is; check the name, HF_TOKEN if it is gated, and the network (HF_ENDPOINT names a mirror)' "$output"
  script train.sh --trainer llamafactory-cli --model-revision v1
  status_is 0
  [[ $(<"$STUB/calls") == *" --model_name_or_path own/er --model_revision $old "* ]] || fail "$(<"$STUB/calls")"

  script eval.sh --dry-run --model-revision v1
  status_is 3
  said "vllm serve own/er " " --revision $old --tokenizer-revision $old "
  script eval.sh --dry-run --model-revision v1 --server llamafactory
  status_is 3
  said "llamafactory-cli api --model_name_or_path own/er --model_revision $old " \
    "--vllm_config '{\"revision\": \"$old\", \"tokenizer_revision\": \"$old\"}'"

  # Without a revision it is the one that was trained with; main is another one.
  script eval.sh --dry-run
  status_is 3
  said " --revision $old --tokenizer-revision $old "
  export MODEL_REVISION=main
  script eval.sh --dry-run
  status_is 2
  said "size 4: not evaluated, it was trained on revision $old of the base model, which is $new now (" '); run bin/train.sh'
  script train.sh --trainer llamafactory-cli --dry-run
  status_is 3
  said "training of size 4: to do, the base model's revision changed ($old -> $new)" " --model_revision $new "
}
