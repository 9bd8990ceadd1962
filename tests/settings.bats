#!/usr/bin/env bats
# Settings: where a value comes from, what is refused and how it is said, --help.

load helpers/common

setup() { make_work; }

# settings FORMAT ARGUMENT...: load the settings with these arguments and print some; the variables in FORMAT are
# expanded. Sets status and output.
settings() {
  run in_library 'format=$1; shift; load_settings "$@"; eval "echo \"$format\""' "$@"
}

# refused MESSAGE ARGUMENT...: bin/train.sh ends with 2 and says exactly this; nothing is called, nothing is made.
refused() {
  script train.sh "${@:2}"
  status_is 2
  equal "error: $1" "$output"
  equal '' "$(calls)"
  [[ ! -e $LOGS && ! -e $WORK/saves ]] || fail "$(ls "$WORK")"
}

@test "without settings it is the profile tiny, with the original's defaults where tiny has no other" {
  SETTINGS_FILE=$PROJECT/settings.sh
  settings '$PROFILE $SWEEP_NAME $MODEL $DEVICE $DATASET|$EPOCHS $CUTOFF_LEN $SAVE_STEPS|$SAMPLING ${SEEDS[*]} $SPLIT_SEED $SPLIT'
  status_is 0
  equal 'tiny tiny saves/tiny/base cpu synthetic-patents|3.0 1024 100|nested 42 42 test' "$output"
}

@test "flag > environment > settings file > profile > default" {
  setting PROFILE=tiny
  settings '$BATCH_SIZE $EPOCHS'
  equal '8 3.0' "$output" # the profile's, the default
  setting BATCH_SIZE=3
  setting EPOCHS=4
  settings '$BATCH_SIZE $EPOCHS'
  equal '3 4' "$output"
  export BATCH_SIZE=5
  settings '$BATCH_SIZE $EPOCHS'
  equal '5 4' "$output"
  settings '$BATCH_SIZE $EPOCHS' --batch-size 6 --epochs=7
  equal '6 7' "$output"
  BATCH_SIZE='' # compose passes every variable, empty where the host has none
  settings '$BATCH_SIZE $EPOCHS'
  equal '3 4' "$output"
}

@test "SIZES: the array of an edited settings.sh, the environment over it, a flag over both" {
  sed "s/^SIZES=.*/SIZES=(50 200)/" "$PROJECT/settings.sh" >"$SETTINGS_FILE"
  settings '${#SIZES[@]}: ${SIZES[*]}'
  equal '2: 50 200' "$output"
  export SIZES='30 60,90'
  settings '${#SIZES[@]}: ${SIZES[*]}'
  equal '3: 30 60 90' "$output"
  settings '${#SIZES[@]}: ${SIZES[*]}, ${#SEEDS[@]}: ${SEEDS[*]}' --sizes 7 8 9 --seeds 0 1
  equal '3: 7 8 9, 2: 0 1' "$output"
  settings '${#SIZES[@]}: ${SIZES[*]}' --sizes='10 20'
  equal '2: 10 20' "$output"
}

@test "SIZES: what cannot be a size is refused" {
  local from='the environment variable SIZES'
  SIZES=0 refused "size 0 in SIZES (from $from) has nothing to train; --methods zero-shot evaluates the base model"
  SIZES='4 -8' refused "size '-8' in SIZES (from $from) is not a whole number above 0"
  SIZES='4 8.5' refused "size '8.5' in SIZES (from $from) is not a whole number above 0"
  SIZES='4 many' refused "size 'many' in SIZES (from $from) is not a whole number above 0"
  SIZES=0100 refused "size '0100' in SIZES (from $from) is not a whole number above 0"
  SIZES='4 8 4' refused "size 4 is in SIZES (from $from) twice"
  refused "size 8 is in SIZES (from --sizes) twice" --sizes 8 8
  refused "SIZES (from --sizes) is empty; give at least one, for example SIZES=(100 500)" --sizes ''
  setting 'SIZES=()'
  refused "SIZES (from $SETTINGS_FILE) is empty; give at least one, for example SIZES=(100 500)"
}

@test "a value of the wrong kind is refused, with where it is from" {
  EPOCHS=three refused "EPOCHS (from the environment variable EPOCHS) is 'three'; it must be a number above 0, at most 10000, such as 3.0"
  refused "BATCH_SIZE (from --batch-size) is '0'; it must be a whole number from 1 to 999999999" --batch-size 0
  refused "SPLIT_SEED (from --split-seed) is '-1'; it must be a whole number from 0 to 999999999" --split-seed=-1
  refused "TEST_COUNT (from --test-count) is '0'; it must be a whole number from 1 to 999999999, or empty" --test-count 0
  refused "API_PORT (from --api-port) is '70000'; it must be a port, 1 to 65535" --api-port 70000
  refused "SPLIT (from --split) is 'train'; it must be one of test,valid" --split train
  refused "CONSTRAIN (from --constrain) is 'maybe'; it must be 0 or 1" --constrain=maybe
  local name
  for name in 'a b' . .. .night a/b -a; do
    refused "SWEEP_NAME (from --sweep-name) is '$name'; it must not hold spaces or slashes, nor start with a dash or a dot" \
      "--sweep-name=$name"
  done
  setting 'LORA_RANK=1e1'
  refused "LORA_RANK (from $SETTINGS_FILE) is '1e1'; it must be a whole number from 1 to 999999999"
}

@test "numbers: the range is said; what no trainer can use is refused at once" {
  local value name
  number() { settings '$EPOCHS $LEARNING_RATE $WARMUP_STEPS $LORA_ALPHA $GPU_MEMORY' "--$1=$2"; }
  for value in 0 0e5 -1 10000.5 1e-400 nan 1,5 5e-5f 0x10 '1 5' .; do
    number epochs "$value"
    status_is 2
    equal "error: EPOCHS (from --epochs) is '$value'; it must be a number above 0, at most 10000, such as 3.0" "$output"
  done
  for value in 0.0 1.01 5,0e-5; do
    number learning-rate "$value"
    equal "error: LEARNING_RATE (from --learning-rate) is '$value'; it must be a number above 0, at most 1, such as 5e-05" "$output"
  done
  number lora-alpha 08
  equal "error: LORA_ALPHA (from --lora-alpha) is '08'; it must be a whole number from 1 to 999999999, without a leading 0" "$output"
  for value in 0 9999999999 16.0; do
    number lora-alpha "$value"
    equal "error: LORA_ALPHA (from --lora-alpha) is '$value'; it must be a whole number from 1 to 999999999" "$output"
  done
  number warmup-steps -1
  equal "error: WARMUP_STEPS (from --warmup-steps) is '-1'; it must be a number from 0 to 999999999, such as 20 or 0.1" "$output"
  number gpu-memory 0.0
  equal "error: GPU_MEMORY (from --gpu-memory) is '0.0'; it must be auto, or a share like 0.9" "$output"
  LC_ALL=C EPOCHS=０．５ LEARNING_RATE=$'1\r' number lora-alpha ' １６ '
  equal '0.5 1 0 16 auto' "$output"
}

@test "0 is fine where it means something" {
  settings '$SPLIT_SEED $SERVER_RESTARTS $STOP_TIMEOUT $WARMUP_STEPS' --split-seed 0 --server-restarts 0 --stop-timeout 0 --warmup-steps 0
  equal '0 0 0 0' "$output"
}

@test "SIZES: every notation that can mean one thing only" {
  local value
  for value in '8 12' 8,12 '8, 12' '[8,12]' '["8", "12"]' '(8 12)' '{8..12..4}' '8;12' $'8\n12\n' ８，１２ ８、１２ '（8　12）'; do
    settings '${SIZES[*]}' --sizes "$value"
    equal '8 12' "$output"
  done
  refused "size '100-500' in SIZES (from --sizes) is not a whole number above 0; a range is written {100..500..100}" --sizes 100-500
  refused "'2,500' in SIZES (from --sizes): one number or several? write 2500 or 2 500" --sizes '100 2,500'
}

@test "a model without its template, a profile that is none, a profile without model" {
  sed -i /TEMPLATE/d "$SETTINGS_FILE"
  refused "MODEL=$WORK/a model needs TEMPLATE, the name of its chat template in LLaMA-Factory; for example TEMPLATE=qwen"
  script train.sh --profile huge
  status_is 2
  [[ $output == "error: no profile 'huge'; there are: custom glm4-9b-chat smollm2-135m tiny-deep tiny qwen3-0.6b "*' gemma3-270m. For any other model set MODEL and TEMPLATE.' ]] || fail "$output"
  sed -i /MODEL/d "$SETTINGS_FILE"
  refused "profile custom needs MODEL, a folder or a name on the hub; for example MODEL=Qwen/Qwen2.5-7B-Instruct TEMPLATE=qwen" \
    --profile custom
}

@test "a micro-batch among TRAIN_ARGS without its accumulation is refused, on a GPU and on a CPU" {
  local flag device
  for flag in '--per_device_train_batch_size 16' '--seed 1 --per-device-train-batch-size=16'; do
    for device in gpu cpu; do
      refused "TRAIN_ARGS has --per_device_train_batch_size without --gradient_accumulation_steps; set MICRO_BATCH, the examples of a step, or BATCH_SIZE, which with GRADIENT_ACCUMULATION makes the global batch" \
        --device "$device" --backend huggingface --train-args "$flag"
    done
  done
  settings '$TRAIN_ARGS' --train-args '--per_device_train_batch_size 4 --gradient_accumulation_steps=2'
  equal '--per_device_train_batch_size 4 --gradient_accumulation_steps=2' "$output"
}

@test "a revision of what is not on a hub, or where another would be loaded, is refused" {
  local hub=(--model own/er --model-revision v1)
  refused "MODEL_REVISION=v1 is of a model on the hub, and MODEL=$WORK/a model is none; unset it, or set MODEL=OWNER/NAME" --model-revision v1
  refused "MODEL_REVISION has no effect with USE_MODELSCOPE_HUB=1, whose cache has one revision of a model; fetch it (modelscope download --model own/er --revision v1 --local_dir FOLDER) and set MODEL=FOLDER" \
    "${hub[@]}" --use-modelscope-hub
  refused "SERVER_ARGS has --vllm_config, which would hide the model's revision from the engine; set SERVER=vllm, or MODEL=FOLDER" \
    "${hub[@]}" --backend vllm --server-args "--vllm_config '{\"seed\": 1}'"
  refused "TRAIN_ARGS and SERVER_ARGS take no --tokenizer-revision; set MODEL_REVISION, which all that load the model are told" \
    "${hub[@]}" --server-args '--tokenizer-revision v2'
  sed -i /TRAIN_FILE/d "$SETTINGS_FILE"
  refused "DATASET_REVISION=v1 is of a data set on the hub, and DATASET=$WORK is none; unset it, or set DATASET=OWNER/NAME" \
    --dataset "$WORK" --dataset-revision v1
  settings '$MODEL_REVISION $DATASET_REVISION' "${hub[@]}" --dataset imdb --dataset-revision v2
  equal 'v1 v2' "$output"
  sed -i /MODEL/d "$SETTINGS_FILE"
  refused "MODELS and MODEL_REVISION contradict each other; a revision is of one model: MODEL=OWNER/NAME" \
    --models tiny --model-revision v1
}

@test "a model of the table: its names on the hubs, its template, what it needs; a flag wins" {
  : >"$SETTINGS_FILE"
  settings '$PROFILE $SWEEP_NAME $MODEL $MODEL_NAME $TEMPLATE $SERVER' --profile bloomz-560m --batch-size 1
  equal 'bloomz-560m bloomz-560m bigscience/bloomz-560m bloomz-560m default llamafactory' "$output"
  settings '$MODEL $TEMPLATE $SERVER' --profile llama3.1-8b --use-modelscope-hub
  equal 'LLM-Research/Meta-Llama-3.1-8B-Instruct llama3 vllm' "$output"
  settings '$TEMPLATE' --profile qwen3-8b --template qwen3
  equal qwen3 "$output"
}

@test "the profile smollm2-135m: a CPU unless there is a GPU; its own sizes unless settings.sh has been given others" {
  SETTINGS_FILE=$PROJECT/settings.sh
  mkdir "$WORK/bin"
  export PATH=$WORK/bin:$PATH
  printf '#!/bin/sh\nexit 1\n' >"$WORK/bin/nvidia-smi"
  chmod +x "$WORK/bin/nvidia-smi"
  settings '$DEVICE $SERVER $MODEL $TEMPLATE|${SIZES[*]}|$SWEEP_NAME $TEST_COUNT' --profile smollm2-135m
  equal 'cpu llamafactory saves/SmolLM2-135M-Instruct/base smollm2|16 32 64 128|smollm2-135m 200' "$output"
  for trainer in auto llamafactory-cli fast; do
    settings '$TRAINER/$TRAIN_ARGS' --profile smollm2-135m --trainer "$trainer"
    echo "$output"
  done >"$WORK/trainers"
  equal $'llamafactory-cli/\nllamafactory-cli/\nfast/--shared_prefix True' "$(<"$WORK/trainers")"
  printf '#!/bin/sh\n' >"$WORK/bin/nvidia-smi"
  sed 's/^SIZES=.*/SIZES=(50 200)/' "$PROJECT/settings.sh" >"$WORK/edited.sh"
  SETTINGS_FILE=$WORK/edited.sh
  settings '$DEVICE $SERVER|${SIZES[*]}' --profile smollm2-135m
  equal 'gpu vllm|50 200' "$output"
}

@test "a script that makes a model makes no other" {
  : >"$SETTINGS_FILE"
  script fetch_model.sh --profile tiny
  status_is 2
  [[ $output == "error: bin/fetch_model.sh does not make MODEL="*"/tiny/base; it makes that of the profile smollm2-135m: bin/fetch_model.sh --profile smollm2-135m" ]] || fail "$output"
}

@test "weights that bring their own code: only with consent, which reaches trainer and server" {
  : >"$SETTINGS_FILE"
  refused "profile yuan2-2b runs Python code that comes with its weights, on this machine; if you trust the authors of IEITYuan/Yuan2-2B-hf, set TRUST_REMOTE_CODE=1" \
    --profile yuan2-2b
  settings '$TRAIN_ARGS|$SERVER_ARGS' --profile yuan2-2b --trust-remote-code 1 --train-args '--lora_dropout 0.1'
  equal '--lora_dropout 0.1 --trust_remote_code True|--trust_remote_code True' "$output"
  settings '$TRAIN_ARGS|$SERVER_ARGS' --profile qwen3-8b --trust-remote-code 1
  equal '--trust_remote_code True|--trust-remote-code' "$output"
}

@test "arguments: one that is unknown, one without its value" {
  refused "unknown argument '--size'; did you mean --sizes? see bin/train.sh --help" --size 4
  refused "unknown argument 'SIZES=4'; did you mean --sizes? see bin/train.sh --help" SIZES=4
  refused "unknown argument '--num-epochs'; did you mean --epochs? see bin/train.sh --help" --num-epochs 4
  refused "unknown argument ''; see bin/train.sh --help" ''
  refused "unknown argument 'abc'; see bin/train.sh --help" --sizes 4 abc
  refused "--epochs needs a value; see --help" --epochs
  refused "--train-file needs a value; see --help" --train-file --sizes 4
  local name
  for name in base_model build_data eval results sweep; do
    script "$name.sh" --nonsense
    status_is 2
    equal "error: unknown argument '--nonsense'; see bin/$name.sh --help" "$output"
    script "$name.sh" --learning_rate 1e-3
    equal "error: unknown argument '--learning_rate'; did you mean --learning-rate? see bin/$name.sh --help" "$output"
  done
  for name in setup test; do
    script "$name.sh" nonsense
    status_is 2
    said "'nonsense'; see bin/$name.sh --help"
  done
}

@test "the settings file: missing, a line that is no assignment, a setting that does not exist" {
  SETTINGS_FILE=$WORK/none.sh refused "$WORK/none.sh: no such settings file"
  setting 'SIZE=(4 8)'
  local last
  last=$(wc -l <"$SETTINGS_FILE")
  refused "$SETTINGS_FILE, line $last: unknown setting SIZE; did you mean SIZES? all are listed by bin/sweep.sh --help"
  # What comes after it is good, and would have been gone on with.
  sed -i '$d; s/^SWEEP_NAME=.*/SWEEP_NAME=my night\n&/' "$SETTINGS_FILE"
  refused "$SETTINGS_FILE, line 3: a value with spaces needs quotes; write SWEEP_NAME='my night'"
}

# refused_file: each line on stdin is a settings file (as printf's %b has it), a tab, and what is said of it.
refused_file() {
  local text said
  while IFS=$'\t' read -r text said; do
    printf '%b' "$text" >"$SETTINGS_FILE"
    settings ''
    [[ $status == 2 && $output == "error: $SETTINGS_FILE, line $said" ]] || fail "of $text:" "$output" "not: $said"
  done
}

@test "the settings file: what is not plainly the value of a setting stops, with line and mend" {
  local first='1: an assignment is NAME=value without spaces; write' run='no command is run here; give the value itself, or'
  local only='is no assignment; only settings stand here, one a line: SIZES=(100 500)' wide='a full-width, typographic or invisible character; in plain ones:'
  refused_file <<END
TRAIN_FILE = x\nSIZES=(8)	$first TRAIN_FILE=x
SIZES = (8 12)	$first SIZES=(8 12)
SIZES= 8, 12 # small	$first SIZES=(8 12)
SIZES: [8, 12]	$first SIZES=(8 12)
SIZES=8 12	1: a value with spaces needs quotes; write SIZES=(8 12)
EPOCHS=3 python x	1: only one value fits here; write EPOCHS=...
TRAIN_ARGS=--hub_token secret	1: a value with spaces needs quotes; write TRAIN_ARGS='...'
ON_FINISH=curl -H secret	1: a value with spaces needs quotes; write ON_FINISH='...'
SIZES=(8)\nfalse\nEPOCHS=3	2: 'false' $only
source other.sh	1: 'source' $only
unset SIZES	1: 'unset' $only
if true; then SIZES=(8); fi	1: 'if' $only
f() { SIZES=(8); }	1: 'f()' $only
readonly EPOCHS=3	1: 'readonly' $only
export HF_TOKEN=x	1: unknown setting HF_TOKEN; the settings are listed by bin/sweep.sh --help, what is none of them is set in the environment
learning_rate=1	1: unknown setting learning_rate; did you mean LEARNING_RATE? all are listed by bin/sweep.sh --help
MODEL_PATH = x	1: unknown setting MODEL_PATH; did you mean MODEL? all are listed by bin/sweep.sh --help
SIZES+=(8)	1: += adds to nothing here; write the whole value: SIZES=...
SWEEP_NAME=\$(date)	1: $run set SWEEP_NAME in the environment
SWEEP_NAME=\`date\`	1: $run set SWEEP_NAME in the environment
SWEEP_NAME="\$(date)"	1: $run put the value in single quotes: SWEEP_NAME='...'
SIZES=(8 \$(ls))	1: $run set SIZES in the environment
EPOCHS=2\nDATASET=\$NOWHERE/x	2: \$NOWHERE is not set, neither above nor in the environment
DATASET=\$NOW	1: \$NOW is not set, neither above nor in the environment
DATASET="\${HOME%/*}"	1: a \$ that is not of \$NAME or \${NAME}; to keep it, put the value in single quotes: DATASET='...'
DATASET=a&b	1: '&' outside of quotes; put the value in single quotes: DATASET='...'
SIZES=(8 *)	1: '*' outside of quotes; put the value in single quotes: SIZES='...'
TRAIN_FILE=C:\\\\x.csv	1: a backslash that bash would drop; in a path write /, else put the value in single quotes: TRAIN_FILE='...'
LORA_TARGET=(q_proj v_proj)	1: LORA_TARGET takes one value, not a list; write LORA_TARGET=value, with quotes around a value that holds spaces
SIZES=(8 12\n#\n	1: SIZES=( is not closed by a )
SIZES=(8\nTRAIN_ARGS=(--a)	1: SIZES=( is not closed by a ) before TRAIN_ARGS=
\nDATASET="x\nSIZES=(8)	2: a quote without its end
\nDATASET="x\nTEST_FILE=y"	2: the quote that begins here takes in the line of TEST_FILE=; it lacks its end
TRAIN_ARGS=--x={"a":1}	1: bash drops the quotes inside of JSON; put single quotes around all of it: '["a", "b"]'
SIZES=（8 12）	1: $wide SIZES=(8 12)
SIZES＝(8)	1: $wide SIZES=(8)
DATASET=\xe2\x80\x9cx\xe2\x80\x9d	1: $wide DATASET="x"
SIZES=(8\xc2\xa012)	1: $wide SIZES=(8 12)
DATASET=x\xe2\x80\x8b	1: $wide DATASET=x
DATASET=\xca\xfd	1: DATASET is not UTF-8 text; save the file as UTF-8
END
  printf '\xff\xfeS\0I\0' >"$SETTINGS_FILE"
  refused "$SETTINGS_FILE is not UTF-8 text (UTF-16?); save it as UTF-8"
}

@test "the settings file: bash's notation, whatever editor wrote it" {
  printf '%b' '\xef\xbb\xbf# 注释（x \xca)\r\nexport SIZES="8 9"\r\n' 'SIZES=(8 # small\r\n 12\r\n)\r\ndeclare -x EPOCHS=0.5; LORA_RANK=4 # x\r\n' \
    "TRAIN_FILE=~/a\\\\ b,'c\"'\"d 数据（1）\".csv\r\nTEST_FILE=\${NOWHERE:-/x}/\$LORA_RANK.csv\r\nDATASET=\r\n" \
    "TRAIN_ARGS=(--a 1\r\n --b 'x y' '{\"k\": [1, 2]}')\r\nSERVER_ARGS=\"--a=1 \\\\\r\n  --b 'it'\\\\''s'\r\n --c\"" >"$SETTINGS_FILE"
  settings '${SIZES[*]}|$EPOCHS|$LORA_RANK|$TRAIN_FILE|$TEST_FILE|$DATASET'
  equal "8 12|0.5|4|$HOME/a b,c\"d 数据（1）.csv|/x/4.csv|synthetic-patents" "$output"
  settings '$TRAIN_ARGS|$SERVER_ARGS'
  equal "--a 1 --b 'x y' '{\"k\": [1, 2]}'|--a=1 --b 'it'\\''s' --c" "$output"
  LORA_RANK=8 settings '$TEST_FILE' # the value that wins
  equal /x/8.csv "$output"
  printf '%s\n' 'SIZES=({100..300..100} $(seq 400 100 500))' >"$SETTINGS_FILE"
  settings '${SIZES[*]}'
  equal '100 200 300 400 500' "$output"
  printf '%s\r' 'SIZES=9' 'EPOCHS=2' >"$SETTINGS_FILE"
  settings '${SIZES[*]} $EPOCHS'
  equal '9 2' "$output"
}

@test "TRAIN_ARGS, SERVER_ARGS: words as a shell reads them, the same for every reader" {
  settings '$TRAIN_ARGS' --train-args $'--a 1\r\n\t--b  "x \\"y"\\ z --c \'\' --d=\'{"k": 1}\''
  equal "--a 1 --b 'x \"y z' --c '' '--d={\"k\": 1}'" "$output"
  run in_library 'load_settings "$@"; split_words "$TRAIN_ARGS"; printf "<%s>" "${WORDS[@]}"
    "$STUB_PYTHON" -c "import shlex, sys; print(*shlex.split(sys.argv[1]), sep=chr(10))" "$TRAIN_ARGS"' \
    --train-args $'--a 1\n--b "it\'s"'
  equal $'<--a><1><--b><it\'s>--a\n1\n--b\nit\'s' "$output"
  with_data
  plan train-4 exit
  script train.sh --sizes 4 --train-args $'--quantization_bit 4\n--x \'a b\' --y="c d"'
  status_is 1
  [[ $(<"$STUB/calls") == *' --quantization_bit 4 --x a\ b --y c\ d '* ]] || fail "$(<"$STUB/calls")"
  : >"$STUB/calls"
  rm -r "$LOGS" "$WORK/saves"
  refused "TRAIN_ARGS (from --train-args): a quote lacks its end" --train-args "--a 'b"
  refused "SERVER_ARGS (from --server-args): JSON needs single quotes around it, or its own quotes are lost; in settings.sh: SERVER_ARGS=(--name '{\"key\": 1}')" \
    --server-args '--x {"a":1}'
  refused "TRAIN_ARGS (from --train-args) begins with 'lora_dropout=0.1'; it holds flags, --name value" --train-args lora_dropout=0.1
  refused "TRAIN_ARGS (from --train-args): '–b' begins with a typographic dash; a flag begins with two plain ones, --" \
    --train-args '--a 1 –b'
}

@test "a secret in TRAIN_ARGS or SERVER_ARGS is refused, and not repeated" {
  local flag instead
  while read -r flag instead; do
    settings '' --train-args "--a 1 $flag"
    status_is 2
    [[ $output == "error: TRAIN_ARGS (from --train-args) has "*", which would stand in the process list, the logs and the records; take it out: $instead" ]] ||
      fail "of $flag: $output"
    not_said TELL
  done <<'END'
--hf_hub_token=TELL set HF_TOKEN in the environment
--hf-hub-tok=TELL set HF_TOKEN in the environment
--hub_token=TELL set HF_TOKEN in the environment
--ms_hub_token=TELL set MODELSCOPE_API_TOKEN in the environment
--om_hub_token=TELL set it in the environment
--swanlab_api_key=TELL set SWANLAB_API_KEY in the environment
--api-key=TELL each server has a random key of its own
--x={\"api_key\":\"TELL\"} set it in the environment
--x=hf_TELLabcdefghijklmnopqrst set it in the environment
--x=https://me:TELL@host set it in the environment
END
  SERVER_ARGS='--api-key TELL' refused "SERVER_ARGS (from the environment variable SERVER_ARGS) has --api-key, which would stand in the process list, the logs and the records; take it out: each server has a random key of its own"
  settings '$TRAIN_ARGS' --train-args '--max_new_tokens 5 --tokenized_path x --push_to_hub False --include_num_input_tokens_seen True --add_tokens a'
  status_is 0
}

@test "a lower-case twin of a setting in the environment is told" {
  learning_rate=1 settings '$LEARNING_RATE'
  said 'warning: the environment variable learning_rate is not read; a setting is written LEARNING_RATE' 5e-05
}

@test "paths: in a flag or a variable relative to the caller's folder, in the settings file to the project" {
  mkdir -p "$WORK/my models/one"
  cd "$WORK"
  setting TRAIN_FILE=data/x.csv
  settings '$TRAIN_FILE|$TEST_FILE|$VALID_FILE|$MODEL|$MODEL_NAME' --test-file x.csv --valid-file='~/x.csv' --model "my models/one"
  equal "$PROJECT/data/x.csv|$WORK/x.csv|$HOME/x.csv|$WORK/my models/one|one" "$output"
  LOGS_DIR=here settings '$LOGS_DIR $MODEL' --model Qwen/Qwen2.5-7B-Instruct
  equal "$WORK/here Qwen/Qwen2.5-7B-Instruct" "$output"
  refused "TRAIN_FILE (from --train-file) is a path of Windows; under WSL it is /mnt/c/Users/me/x.csv" --train-file 'C:\Users\me\x.csv'
  refused "MODEL (from --model) is a path of Windows; here it is written models/x" --model 'models\x'
  SETTINGS_FILE=settings.sh
  settings '$SWEEP_NAME'
  equal demo "$output"
}

@test "names of the sweep and its data: from profile, model and data" {
  SETTINGS_FILE=$PROJECT/settings.sh
  settings '$SWEEP_NAME $DATA_DIR' --profile glm4-9b-chat
  equal "glm4-9b-chat data/glm4-9b-chat" "$output"
  DEFAULT_PROFILE=glm4-9b-chat settings '$PROFILE' # what the compose service `sweep` sets
  equal glm4-9b-chat "$output"
  DEFAULT_PROFILE=glm4-9b-chat settings '$PROFILE' --profile tiny
  equal tiny "$output"
  settings '$SWEEP_NAME' --train-file 'my data/ag news.csv'
  equal tiny-ag_news "$output"
  settings '$PROFILE $SWEEP_NAME $DATASET $TEMPLATE' --model Qwen/Qwen2.5-7B-Instruct --template qwen --dataset me/reviews
  equal 'custom Qwen2.5-7B-Instruct-reviews me/reviews qwen' "$output"
  settings '$SWEEP_NAME|$METHODS' --task generation
  equal 'tiny-generation|auto' "$output"
}

@test "names made of a file's: safe and short, whatever it is called; its data has no counts or configuration of others" {
  SETTINGS_FILE=$PROJECT/settings.sh
  local file name long
  printf -v long '电%.0s' {1..90}
  while IFS='|' read -r file name; do
    settings '$SWEEP_NAME|$VALID_COUNT|$TEST_COUNT' --train-file="$WORK/$(printf '%b' "$file")"
    equal "tiny-$name||" "$output"
  done <<END
comma,name.csv|comma_name
a[1]*?\$.csv|a_1]___
a::b c.csv|a_b_c
数据 集　x.csv|数据_集_x
-x.csv|_x
.csv|data
$long.csv|电电电电电电电电电电电电电电电-$(cksum <<<"$long" | cut -d' ' -f1)
END
  settings '$MODEL_NAME $SWEEP_NAME' --model "$WORK/-a,b" --template qwen
  equal '_a_b _a_b' "$output"
  settings '$SWEEP_NAME|$DATASET_CONFIG|$VALID_COUNT|$TEST_COUNT' --dataset me/set --test-count 7
  equal 'tiny-set|||7' "$output"
  settings '$DATASET_CONFIG' --dataset ccdv/patent-classification
  equal abstract "$output"
  SETTINGS_FILE=$WORK/settings.sh
  printf '%s\n' PROFILE=glm4-9b-chat DATASET_CONFIG= >"$SETTINGS_FILE"
  settings '|$DATASET_CONFIG|'
  equal '||' "$output"
}

@test "a name or a folder that a part of the stack would read as syntax is refused" {
  local names='a name must not begin with a dot nor hold any of , * ? [ $ :: and control characters'
  local misread='LLaMA-Factory, datasets or vLLM would misread that: choose a folder without any of , * ? [ $ :: and control characters, not beginning with - ~ or a space, or a symbolic link to it'
  local value
  for value in 'a,b' 'a[1]' 'a*' 'a?' 'a$b' a::b; do
    refused "SWEEP_NAME is '$value'; $names" "--sweep-name=$value"
  done
  refused "MODEL_NAME is \$'a\001b'; $names" --model-name=$'a\001b'
  refused 'SWEEP_NAME has more than 130 bytes; files are named after it, so give a shorter one' "--sweep-name=$(printf '电%.0s' {1..50})"
  for value in SAVES_DIR=/a,b 'DATA_DIR=/a[1]' 'DATA_DIR=/a?' 'LOGS_DIR=/*' 'OBJS_DIR=/$x' DATA_DIR=/a::b MODEL=/a* SAVES_DIR=s3://b SAVES_DIR=-x; do
    cp -- "$SETTINGS_FILE" "$WORK/kept"
    setting "${value%%=*}='${value#*=}'"
    refused "${value%%=*} is '${value#*=}'; $misread"
    mv -- "$WORK/kept" "$SETTINGS_FILE"
  done
  refused "TEST_FILE is \$'/\351t\351.csv', which is not UTF-8 and can stand in no record; rename it" --test-file=$'/\xe9t\xe9.csv'
  SETTINGS_FILE=$PROJECT/settings.sh settings '$SAVES_DIR $MODEL $SWEEP_NAME' --saves-dir='/a&b' # `&` is syntax to bash 5.2
  equal '/a&b /a&b/tiny/base tiny' "$output"
  local copy="$WORK/a [1]"
  mkdir "$copy"
  cp -r -- "$PROJECT/bin" "$copy/"
  PROJECT=$copy refused "the project's folder is '$copy'; LLaMA-Factory, datasets or vLLM would misread that: rename it without any of * ? [ $ :: and control characters"
}

@test "the original's model is asked of the hub that is chosen, by its name there" {
  SETTINGS_FILE=$PROJECT/settings.sh
  local answer
  for answer in 0 false no; do
    settings '$MODEL' --profile glm4-9b-chat --use-modelscope-hub=$answer
    equal zai-org/glm-4-9b-chat-hf "$output"
  done
  settings '$MODEL $USE_MODELSCOPE_HUB' --profile glm4-9b-chat --use-modelscope-hub
  equal 'ZhipuAI/glm-4-9b-chat-hf 1' "$output"
}

@test "handed on in their file, the settings are the same for bash and Python, and no other file is read" {
  local all='for name in $(printf "%s\n" "${!SETTING_TYPE[@]}" | sort); do declare -p $name; done'
  cd "$WORK"
  run in_library "load_settings \"\$@\"; ON_FINISH=; $all; write_settings file" --model 'a model' --sizes 4 8 --force \
    --train-args $'--a "1\n2" --b \'c\\n\td"e\'' --labels-file l.txt
  status_is 0
  local before=$output
  echo 'SIZES=(' >"$SETTINGS_FILE" # it is not read
  cd /
  run in_library "ON_FINISH=; read_settings '$WORK/file'; $all"
  status_is 0
  equal "$before" "$output"
  said 'declare -a SIZES=([0]="4" [1]="8")' "declare -- LABELS_FILE=\"$WORK/l.txt\""
  FEWSHOT_SETTINGS=$WORK/file PYTHONPATH=$PROJECT/py run "$STUB_PYTHON" -c '
from fewshot_sft.settings import Settings
settings = Settings.read()
print(settings.sizes, settings.force, settings.labels_file, settings.micro_batch, repr(settings.train_args))
settings.write()'
  equal "(4, 8) True $WORK/l.txt None '--a \'1\\n2\' --b \'c\\\\n\\td\"e\''" "$output"
  run in_library "ON_FINISH=; read_settings '$WORK/file'; $all" # as Python has written it
  equal "$before" "$output"
  echo '{"SIZES": "4"}' >"$WORK/file"
  export FEWSHOT_SETTINGS=$WORK/file
  refused "$WORK/file: holds no settings; start the sweep again with bin/sweep.sh"
}

@test "--help of every script: its header, the settings, exit status 0, and no environment is made" {
  export FEWSHOT_VENV=$WORK/none
  local file name
  for file in "$PROJECT"/bin/*.sh; do
    name=${file##*/}
    script "$name" --help
    status_is 0
    said 'Summary: ' "Usage: bin/$name"
    not_said '#!/' 'set -E'
    case $name in
    setup.sh | test.sh) not_said --learning-rate ;;
    *) said '--sizes                  training-set sizes: one adapter is trained and evaluated for each [100 500 1000 2000]' \
      '--learning-rate          peak learning rate [5e-05]' ;;
    esac
  done
  [[ ! -e $WORK/none ]]
}

@test "compose passes every setting of the host to the container, but the folders that it mounts" {
  equal "$(in_library 'printf "%s\n" "${SETTING_NAMES[@]}"' | grep -v '_DIR$')" \
    "$(sed -n '/^x-settings:/,/^  # Hubs/s/^  \([A-Z0-9_]*\):$/\1/p' "$PROJECT/docker-compose.yml")"
}

@test "a checkout that converts line ends for Windows has those that bash takes" {
  cd "$WORK"
  git init -q clone
  cp "$PROJECT/.gitattributes" "$PROJECT/settings.sh" clone
  git -C clone -c core.autocrlf=true add . 2>/dev/null
  rm clone/settings.sh
  git -C clone -c core.autocrlf=true checkout -q settings.sh
  cmp "$PROJECT/settings.sh" clone/settings.sh
}
