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

@test "without settings it is the profile tiny, with the seed's defaults where tiny has no other" {
  SETTINGS_FILE=$PROJECT/settings.sh
  settings '$PROFILE $SWEEP_NAME $MODEL $DEVICE $DATASET|$EPOCHS $CUTOFF_LEN $SAVE_STEPS|$SAMPLING $SEED $SPLIT'
  status_is 0
  equal 'tiny tiny saves/tiny/base cpu synthetic-patents|3.0 1024 100|nested 42 test' "$output"
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
  settings '${#SIZES[@]}: ${SIZES[*]} $SEED' --sizes 7 8 9 --seed 1
  equal '3: 7 8 9 1' "$output"
  settings '${#SIZES[@]}: ${SIZES[*]}' --sizes='10 20'
  equal '2: 10 20' "$output"
}

@test "SIZES: what cannot be a size is refused" {
  local from='the environment variable SIZES'
  SIZES=0 refused "size 0 in SIZES (from $from) has nothing to train; --with-base evaluates the base model as size 0"
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
  EPOCHS=three refused "EPOCHS (from the environment variable EPOCHS) is 'three'; it must be a number"
  refused "BATCH_SIZE (from --batch-size) is '0'; it must be a whole number above 0" --batch-size 0
  refused "SEED (from --seed) is '-1'; it must be a whole number" --seed=-1
  refused "TEST_COUNT (from --test-count) is '0'; it must be a whole number above 0" --test-count 0
  refused "API_PORT (from --api-port) is '70000'; it must be a port, 1 to 65535" --api-port 70000
  refused "SPLIT (from --split) is 'train'; it must be one of test,valid" --split train
  refused "WITH_BASE (from --with-base) is 'maybe'; it must be 0 or 1" --with-base=maybe
  refused "SWEEP_NAME (from --sweep-name) is 'a b'; it must not hold spaces or slashes, nor start with a dash" \
    --sweep-name 'a b'
  setting 'LORA_RANK=1e1'
  refused "LORA_RANK (from $SETTINGS_FILE) is '1e1'; it must be a whole number above 0"
}

@test "0 is fine where it means something" {
  settings '$SEED $SERVER_RESTARTS $STOP_TIMEOUT $WARMUP_STEPS' --seed 0 --server-restarts 0 --stop-timeout 0 --warmup-steps 0
  equal '0 0 0 0' "$output"
}

@test "a model without its template, a profile that is none, a profile without model" {
  sed -i /TEMPLATE/d "$SETTINGS_FILE"
  refused "MODEL=$WORK/a model needs TEMPLATE, the name of its chat template in LLaMA-Factory; for example TEMPLATE=qwen"
  refused "no profile 'huge'; there are: custom glm4-9b-chat tiny. For any other model set MODEL and TEMPLATE." \
    --profile huge
  sed -i /MODEL/d "$SETTINGS_FILE"
  refused "profile custom needs MODEL, a folder or a name on the hub; for example MODEL=Qwen/Qwen2.5-7B-Instruct TEMPLATE=qwen" \
    --profile custom
}

@test "arguments: one that is unknown, one without its value" {
  refused "unknown argument '--size'; see bin/train.sh --help" --size 4
  refused "unknown argument 'abc'; see bin/train.sh --help" --sizes 4 abc
  refused "--epochs needs a value; see --help" --epochs
  local name
  for name in base_model build_data eval results sweep; do
    script "$name.sh" --nonsense
    status_is 2
    equal "error: unknown argument '--nonsense'; see bin/$name.sh --help" "$output"
  done
  for name in setup test; do
    script "$name.sh" nonsense
    status_is 2
    said "'nonsense'; see bin/$name.sh --help"
  done
}

@test "the settings file: missing, no bash, a setting that does not exist, a command that fails" {
  echo 'SIZE=(4 8)' >>"$SETTINGS_FILE"
  refused "$SETTINGS_FILE: unknown setting SIZE; the settings are listed by bin/sweep.sh --help"
  echo 'SIZES=(4 8' >"$SETTINGS_FILE"
  script train.sh
  status_is 2
  said "error: $SETTINGS_FILE is not valid bash: line" "unexpected"
  echo 'false' >"$SETTINGS_FILE"
  refused "$SETTINGS_FILE failed; it may only hold assignments such as SIZES=(100 500)"
  SETTINGS_FILE=$WORK/none.sh refused "$WORK/none.sh: no such settings file"
}

@test "paths: in a flag or a variable relative to the caller's folder, in the settings file to the project" {
  mkdir -p "$WORK/my models/one"
  cd "$WORK"
  setting TRAIN_FILE=data/x.csv
  settings '$TRAIN_FILE|$TEST_FILE|$VALID_FILE|$MODEL|$MODEL_NAME' --test-file x.csv --valid-file='~/x.csv' --model "my models/one"
  equal "$PROJECT/data/x.csv|$WORK/x.csv|$HOME/x.csv|$WORK/my models/one|one" "$output"
  LOGS_DIR=here settings '$LOGS_DIR $MODEL' --model Qwen/Qwen2.5-7B-Instruct
  equal "$WORK/here Qwen/Qwen2.5-7B-Instruct" "$output"
  SETTINGS_FILE=settings.sh
  settings '$SWEEP_NAME'
  equal demo "$output"
}

@test "names: of the sweep from profile, model and data; of a run from the sweep and the size" {
  SETTINGS_FILE=$PROJECT/settings.sh
  settings '$SWEEP_NAME $(run_name 100) $(adapter_folder 100) $DATA_DIR' --profile glm4-9b-chat
  equal "glm4-9b-chat glm4-9b-chat-llm_train_100 saves/GLM-4-9B-Chat/lora/glm4-9b-chat-llm_train_100 data/glm4-9b-chat" "$output"
  DEFAULT_PROFILE=glm4-9b-chat settings '$PROFILE' # what the compose service `sweep` sets
  equal glm4-9b-chat "$output"
  DEFAULT_PROFILE=glm4-9b-chat settings '$PROFILE' --profile tiny
  equal tiny "$output"
  settings '$SWEEP_NAME' --train-file 'my data/ag news.csv'
  equal tiny-ag_news "$output"
  settings '$PROFILE $SWEEP_NAME $DATASET $TEMPLATE' --model Qwen/Qwen2.5-7B-Instruct --template qwen --dataset me/reviews
  equal 'custom Qwen2.5-7B-Instruct-reviews me/reviews qwen' "$output"
}

@test "names made of a file's: safe and short, whatever it is called; its data has no counts or configuration of others" {
  SETTINGS_FILE=$PROJECT/settings.sh
  local file name long
  printf -v long '电%.0s' {1..90}
  while IFS='|' read -r file name; do
    settings '$SWEEP_NAME|$VALID_COUNT|$TEST_COUNT' --train-file="$WORK/$(printf -- "$file")"
    equal "tiny-$name||" "$output"
  done <<END
comma,name.csv|comma_name
a[1]*?\$.csv|a_1]___
a::b\nc.csv|a_b_c
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
  for value in 'a,b' 'a[1]' .. 'a*' 'a?' 'a$b' a::b; do
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

@test "the seed's model is asked of the hub that is chosen, by its name there" {
  SETTINGS_FILE=$PROJECT/settings.sh
  local answer
  for answer in 0 false no; do
    settings '$MODEL' --profile glm4-9b-chat --use-modelscope-hub=$answer
    equal zai-org/glm-4-9b-chat-hf "$output"
  done
  settings '$MODEL $USE_MODELSCOPE_HUB' --profile glm4-9b-chat --use-modelscope-hub
  equal 'ZhipuAI/glm-4-9b-chat-hf 1' "$output"
}

@test "handed on as flags, the settings are the same in another folder with another settings file" {
  local all='for name in $(printf "%s\n" "${!SETTING_TYPE[@]}" | sort); do declare -p $name; done'
  local first="$all"'; settings_as_flags; printf "%q " "${FLAGS[@]}" >flags'
  cd "$WORK"
  run in_library "load_settings \"\$@\"; $first" --model 'a model' --sizes 4 8 --train-args '--a 1 --b 2' --force \
    --labels-file l.txt
  status_is 0
  local before=$output
  echo 'SIZES=(' >"$SETTINGS_FILE" # it is not read
  cd /
  run in_library "eval \"load_settings \$(<'$WORK/flags')\"; $all"
  status_is 0
  equal "$before" "$output"
  said 'declare -a SIZES=([0]="4" [1]="8")' "declare -- LABELS_FILE=\"$WORK/l.txt\"" 'declare -- TRAIN_ARGS="--a 1 --b 2"'
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
    "$(sed -n '/^x-settings:/,/^  # Hubs/s/^  \([A-Z_]*\):$/\1/p' "$PROJECT/docker-compose.yml")"
}
