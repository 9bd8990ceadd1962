# The settings: one table, and how a value is found: flag > environment > settings.sh > profile > default.
# shellcheck shell=bash

SETTINGS_FILE=${SETTINGS_FILE:-$ROOT/settings.sh}
[[ $SETTINGS_FILE == /* ]] || SETTINGS_FILE=$CALLER_DIR/$SETTINGS_FILE

SETTING_NAMES=()
declare -A SETTING_TYPE=() SETTING_DEFAULT=() SETTING_MEANING=() SETTING_FLAG=()
while IFS='|' read -r _name _type _default _meaning; do
  [[ $_name != \#* ]] || continue
  SETTING_NAMES+=("$_name")
  SETTING_TYPE[$_name]=$_type SETTING_DEFAULT[$_name]=$_default SETTING_MEANING[$_name]=$_meaning
  _flag=--${_name,,}
  SETTING_FLAG[${_flag//_/-}]=$_name
done <"$ROOT/bin/settings.table"
unset _name _type _default _meaning _flag

# settings_help: the table, as --help prints it.
settings_help() {
  local name flag
  printf '\nSettings (flag > environment > settings.sh > profile > default):\n'
  for name in "${SETTING_NAMES[@]}"; do
    flag=--${name,,}
    printf '  %-24s %s%s\n' "${flag//_/-}" "${SETTING_MEANING[$name]}" "${SETTING_DEFAULT[$name]:+ [${SETTING_DEFAULT[$name]}]}"
  done
}

declare -A from_env=() # kept for bin/lib/models.bash
# load_settings [--flag value]...: set every setting as a global variable, SIZES as an array, and export none.
# Flags that are no settings stay in the array EXTRA_ARGS for the script.
load_settings() {
  local -A from_flag=() from_file=() from_profile=()
  local name value
  EXTRA_ARGS=() from_env=()
  _read_flags "$@"
  for name in "${!SETTING_TYPE[@]}"; do
    # An empty variable counts as unset: compose passes `SIZES=` for one that the host does not have.
    [[ -n ${!name-} ]] && from_env[$name]=${!name}
    unset -v "$name"
  done
  local profile=${from_flag[PROFILE]-}
  _read_files
  for name in "${SETTING_NAMES[@]}"; do _choose "$name"; done
  PROFILE=$profile
  _derive "${from_profile[DATASET]-ccdv/patent-classification}" "${from_profile[MODEL]-}"
}

# _read_files: read settings.sh and the profile into load_settings's maps, and set profile, its name.
_read_files() {
  local file each
  for each in $(compgen -e); do
    [[ $each != "${each,,}" || ! -v SETTING_TYPE[${each^^}] ]] ||
      warn "the environment variable $each is not read; a setting is written ${each^^}"
  done
  read_settings_file "$SETTINGS_FILE"
  profile=${from_flag[PROFILE]-${from_env[PROFILE]-${from_file[PROFILE]-}}}
  _choose MODELS
  : "${profile:=${MODELS%% *}}" # what all of them have in common is read from the first
  if [[ -z $profile && -n ${from_flag[MODEL]-${from_env[MODEL]-${from_file[MODEL]-}}} ]]; then
    profile=custom
  fi
  : "${profile:=${DEFAULT_PROFILE:-tiny}}"
  file=$ROOT/bin/profiles/$profile.bash
  # A profile may choose its model by hub: ModelScope names it differently.
  _choose USE_MODELSCOPE_HUB
  if [[ $profile != */* && -f $file ]]; then
    _source_profile "$file"
  else
    _model_of_table || die "no profile '$profile'; there are: $(_profiles). For any other model set MODEL and TEMPLATE."
  fi
}

# _model_of_table: read the row of bin/profiles/models.table that _read_files's profile names.
_model_of_table() {
  local name hub modelscope model_name template more each
  while IFS='|' read -r name hub modelscope model_name template more; do
    [[ $name == "$profile" ]] || continue
    ((USE_MODELSCOPE_HUB == 0)) || hub=$modelscope
    from_profile=([MODEL]=$hub [MODEL_NAME]=$model_name [TEMPLATE]=$template)
    for each in $more; do from_profile[${each%%=*}]=${each#*=}; done
    return
  done < <(grep -v '^#' "$ROOT/bin/profiles/models.table")
  return 1
}

# _choose NAME: set it from the place that wins; the maps and the profile are load_settings's. The sizes that settings.sh
# comes with are no choice of the user's.
_choose() {
  local name=$1 flag=${1,,}
  [[ $name != SIZES || ! -v from_profile[SIZES] || ${from_file[SIZES]-} != "${SETTING_DEFAULT[SIZES]}" ]] || from_file[SIZES]=${from_profile[SIZES]}
  if [[ -v from_flag[$name] ]]; then
    _set "$name" "${from_flag[$name]}" "$CALLER_DIR" "--${flag//_/-}"
  elif [[ -v from_env[$name] ]]; then
    _set "$name" "${from_env[$name]}" "$CALLER_DIR" "the environment variable $name"
  elif [[ -n ${from_file[$name]-} || (-v from_file[$name] && $name == @(SIZES|SEEDS|DATASET_CONFIG|VALID_COUNT|TEST_COUNT)) ]]; then
    _set "$name" "${from_file[$name]}" "$ROOT" "$(short "$SETTINGS_FILE")"
  else
    _set "$name" "${from_profile[$name]-${SETTING_DEFAULT[$name]}}" "$ROOT" "profile $profile"
  fi
}

_profiles() {
  local file names=()
  for file in "$ROOT"/bin/profiles/*.bash; do
    file=${file##*/}
    names+=("${file%.bash}")
  done
  mapfile -t -O "${#names[@]}" names < <(sed '/^#/d; s/|.*//' "$ROOT/bin/profiles/models.table")
  printf '%s' "${names[*]}"
}

_read_flags() {
  while (($#)); do
    local flag=${1%%=*}
    local name=${SETTING_FLAG[${flag:-none}]-}
    if [[ -z $name ]]; then
      EXTRA_ARGS+=("$1")
      shift
      continue
    fi
    if [[ $1 == *=* ]]; then
      from_flag[$name]=${1#*=}
      shift
    elif [[ ${SETTING_TYPE[$name]} == bool ]]; then
      from_flag[$name]=1
      shift
    else
      (($# > 1)) && [[ $2 != --* || ${SETTING_TYPE[$name]} == words || -z ${SETTING_FLAG[${2%%=*}]-} ]] || die "$flag needs a value; see --help"
      from_flag[$name]=$2
      shift 2
      if [[ ${SETTING_TYPE[$name]} == @(numbers|methods:*|profiles) ]]; then # --sizes 100 500 as well as --sizes "100 500"
        while (($#)) && [[ $1 =~ ^[0-9]+$ || (${SETTING_TYPE[$name]} != numbers && $1 =~ ^[a-z][a-z0-9.-]+$) ]]; do
          from_flag[$name]+=" $1"
          shift
        done
      fi
    fi
  done
}

# _source_profile FILE: run FILE, a script of assignments, and move what it set into the map from_profile.
_source_profile() {
  local _file=$1 _problem='' _before='' _name=''
  _problem=$(bash -n -- "$_file" 2>&1) || die "$(short "$_file") is not valid bash: ${_problem#"$_file: "}"
  _before=$'\n'$(compgen -A variable)$'\n'
  # shellcheck disable=SC1090 # a profile
  source "$_file" || die "$(short "$_file") failed; it may only hold assignments such as MODEL=Qwen/Qwen2.5-7B-Instruct"
  while IFS= read -r _name; do
    if [[ -v SETTING_TYPE[$_name] ]]; then
      local -n _value=$_name
      from_profile[$_name]=${_value[*]-}
      unset -n _value
      unset -v "$_name"
    elif [[ $_before != *$'\n'"$_name"$'\n'* ]]; then
      die "$(short "$_file"): unknown setting $_name; the settings are listed by bin/sweep.sh --help"
    fi
  done < <(compgen -A variable)
}

# _set NAME VALUE FOLDER ORIGIN: check VALUE, resolve a path against FOLDER, and assign the global variable.
_set() {
  local name=$1 value=${2//$'\r'/} folder=$3 origin=$4 # CR: of a .env or a script with Windows' line ends
  local type=${SETTING_TYPE[$name]} where="$1 (from $4)" most=999999999 zero=''
  case $type in
  numbers) _set_numbers "$name" "$value" "$origin" && return ;;
  words) _set_words "$name" "$value" "$origin" && return ;;
  text | word | path | model)
    [[ $value != *$'\n'* || $name == ON_FINISH ]] || die "$where holds a line break; a quote may lack its end"
    ;;
  *)
    narrow "$value"
    [[ $NARROWED =~ ^[[:space:]]*(.*[^[:space:]])?[[:space:]]*$ ]]
    value=${BASH_REMATCH[1]}
    ;;
  esac
  [[ ! $value =~ ^0[0-9]+$ ]] || zero=', without a leading 0'
  case $type in
  bool | auto_bool)
    [[ -n $value || $type == auto_bool ]] || value=0
    case ${value,,} in
    1 | true | yes | on) value=1 ;;
    0 | false | no | off) value=0 ;;
    *)
      [[ $type == auto_bool ]] || die "$where is '$value'; it must be 0 or 1"
      [[ ${value,,} == auto ]] || die "$where is '$value'; it must be auto, 0 or 1"
      value=auto
      ;;
    esac
    ;;
  methods:*) _set_list 'be auto, or' "${type#methods:}" ;;
  profiles) _set_list 'hold profiles,' "$(_profiles)" ;;
  target) [[ -z $value || $value =~ ^(0?\.[0-9]{1,9}|1(\.0{1,9})?)$ ]] || die "$where is '$value'; it must be a score from 0 to 1, such as 0.8, or empty" ;;
  price) [[ -z $value ]] || _is_number "$value" $most || die "$where is '$value'; it must be a number from 0 to $most, or empty" ;;
  int) [[ $value =~ ^[1-9][0-9]{0,8}$ ]] || die "$where is '$value'; it must be a whole number from 1 to $most$zero" ;;
  int0) [[ $value =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "$where is '$value'; it must be a whole number from 0 to $most$zero" ;;
  auto_share) [[ $value == auto || $value =~ ^0?\.0*[1-9][0-9]*$ ]] || die "$where is '$value'; it must be auto, or a share like 0.9" ;;
  auto_int) [[ $value == auto || $value =~ ^[1-9][0-9]{0,8}$ ]] || die "$where is '$value'; it must be auto, or a whole number from 1 to $most$zero" ;;
  port) [[ $value =~ ^[1-9][0-9]{0,4}$ && $value -le 65535 ]] || die "$where is '$value'; it must be a port, 1 to 65535" ;;
  count) [[ -z $value || $value =~ ^[1-9][0-9]{0,8}$ ]] || die "$where is '$value'; it must be a whole number from 1 to $most$zero, or empty" ;;
  number0) _is_number "$value" $most || die "$where is '$value'; it must be a number from 0 to $most, such as 20 or 0.1" ;;
  number:*)
    most=${type#number:}
    _is_number "$value" "$most" && [[ ${value%%[eE]*} == *[1-9]* ]] ||
      die "$where is '$value'; it must be a number above 0, at most $most, such as ${SETTING_DEFAULT[$name]}"
    ;;
  word) [[ $value =~ ^[^./[:space:]-][^/[:space:]]*$|^$ ]] ||
    die "$where is '$value'; it must not hold spaces or slashes, nor start with a dash or a dot" ;;
  choice:*) [[ ",${type#choice:}," == *",$value,"* ]] || die "$where is '$value'; it must be one of ${type#choice:}" ;;
  path) [[ -z $value ]] || _set_path ;;
  # A name like Qwen/Qwen2.5-7B is a hub name unless such a folder is there.
  model) if [[ $value == [./~]* || $value == *\\* || $value == [A-Za-z]:/* || (-n $value && -d $folder/$value) ]]; then
    _set_path
    value=$(short "$value")
  fi ;;
  esac
  printf -v "$name" '%s' "$value"
}

# _set_path: make _set's value an absolute path; a path of Windows means no file here.
_set_path() {
  local given=$value
  value=$(_absolute "$value" "$folder")
  [[ $given == *\\* || $given == [A-Za-z]:/* ]] && [[ ! -e $value ]] || return 0
  given=${given//\\//}
  if [[ $given == [A-Za-z]:/* ]]; then
    local drive=${given:0:1}
    die "$where is a path of Windows; under WSL it is /mnt/${drive,}${given:2}"
  fi
  die "$where is a path of Windows; here it is written $given"
}

# _is_number VALUE MOST: digits, a point, an exponent; not above MOST.
_is_number() {
  local LC_ALL=C fixed
  [[ $1 =~ ^([0-9]{1,15}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][-+]?[0-9]{1,2})?$ ]] || return 1
  printf -v fixed '%.40f' "$1"
  ((${#fixed} <= 51)) || return 1 # 10 digits before the point
  ((${fixed%.*} < $2)) || [[ ${fixed%.*} == "$2" && ${fixed#*.} != *[1-9]* ]]
}

# narrow TEXT: set NARROWED to TEXT with full-width digits and punctuation, as a Chinese keyboard gives them, and
# typographic quotes and dashes as their ASCII kin.
# shellcheck disable=SC1112 # these quotes are meant
narrow() {
  local LC_ALL=C i
  local wide='０１２３４５６７８９．，、；：　（）［］｛｝＝－–—−＋＿＇＂‘’“”＄＃／' plain="0123456789.,,;: ()[]{}=----+_'\"''\"\"\$#/"
  NARROWED=${1//$'\xc2\xa0'/ }
  NARROWED=${NARROWED//$'\xef\xbb\xbf'/}
  NARROWED=${NARROWED//$'\xe2\x80'[$'\x8b'-$'\x8f']/}
  [[ $NARROWED == *[!\ -~]* ]] || return 0
  for ((i = 0; i < ${#plain}; i++)); do NARROWED=${NARROWED//"${wide:3*i:3}"/"${plain:i:1}"}; done
}

# nearest WORD CANDIDATE...: print the candidate that WORD was meant to be, if one is near: case, dashes and underscores
# do not count; a third of the letters may be others; or one holds the other.
nearest() {
  printf '%s\n' "$@" | awk '
    function plain(text) { gsub(/[-_]/, "", text); return tolower(text) }
    function distance(a, b,   i, j, cost, above, row) {
      for (j = 0; j <= length(b); j++) row[j] = j
      for (i = 1; i <= length(a); i++) {
        above = row[0]; row[0] = i
        for (j = 1; j <= length(b); j++) {
          cost = above + (substr(a, i, 1) != substr(b, j, 1)); above = row[j]
          if (row[j] + 1 < cost) cost = row[j] + 1
          if (row[j - 1] + 1 < cost) cost = row[j - 1] + 1
          row[j] = cost
        }
      }
      return row[length(b)]
    }
    NR == 1 { word = plain($0); best = (length(word) + 2) / 3; if (best > 3) best = 3; next }
    { each = plain($0); far = distance(word, each) }
    length(word) > 3 && length(each) > 3 && (index(each, word) || index(word, each)) { far = 1 + far / 100 }
    far <= best { best = far - 0.001; found = $0 }
    END { if (found) print found }'
}

# split_words TEXT: set WORDS to the words that a shell, or Python's shlex, reads in TEXT; nothing is expanded. Returns
# 1 when a quote lacks its end, 2 when a quote stands inside of an unquoted { or [: it is JSON's, and would be lost.
split_words() {
  local LC_ALL=C rest=${1//$'\r'/} word='' open=0 piece
  rest=${rest//\\$'\n'/ }
  WORDS=()
  while [[ -n $rest ]]; do
    if [[ $rest =~ ^[[:space:]]+ ]]; then
      ((open == 0)) || WORDS+=("$word")
      word='' open=0 piece=''
    elif [[ $rest =~ ^[^[:space:]\'\"\\]+ ]]; then
      piece=${BASH_REMATCH[0]}
    elif [[ $rest == [\'\"]* && $word == *[\{[]* && $word == *[\{[:,] ]]; then
      return 2
    elif [[ $rest =~ ^\'([^\']*)\' ]]; then
      piece=${BASH_REMATCH[1]}
    elif [[ $rest =~ ^\"(([^\"\\]|\\.)*)\" ]]; then
      piece=${BASH_REMATCH[1]//\\\"/\"}
      piece=${piece//\\\\/\\}
    elif [[ $rest =~ ^\\(.) ]]; then
      piece=${BASH_REMATCH[1]}
    else
      return 1
    fi
    [[ $rest == [[:space:]]* ]] || open=1
    word+=$piece rest=${rest:${#BASH_REMATCH[0]}}
  done
  ((open == 0)) || WORDS+=("$word")
}

# quoted_words WORD...: one text that split_words, a shell and shlex split into these.
quoted_words() {
  local word text=''
  for word; do
    [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    text+=" $word"
  done
  printf '%s' "${text:1}"
}

# _set_words NAME VALUE ORIGIN: the arguments of another program, in the one notation of quoted_words.
# shellcheck disable=SC1100 # these dashes are meant
_set_words() {
  local where="$1 (from $3)" status=0 word
  split_words "$2" || status=$?
  ((status != 1)) || die "$where: a quote lacks its end"
  ((status != 2)) || die "$where: JSON needs single quotes around it, or its own quotes are lost; in settings.sh: $1=(--name '{\"key\": 1}')"
  for word in "${WORDS[@]}"; do
    [[ $word != @(–|—|−|－)* ]] || die "$where: '$word' begins with a typographic dash; a flag begins with two plain ones, --"
  done
  ((${#WORDS[@]} == 0)) || [[ ${WORDS[0]} == -* ]] ||
    die "$where begins with '${WORDS[0]}'; it holds flags, --name value"
  _refuse_secrets
  printf -v "$1" '%s' "$(quoted_words "${WORDS[@]}")"
}

# _refuse_secrets: a token among WORDS would stand in the process list, the logs and the records. Python's argument
# parsers take --hf_hub_t for --hf_hub_token.
_refuse_secrets() {
  local word flag='' name instead
  for word in "${WORDS[@]}"; do
    [[ $word != -* ]] || flag=${word%%=*}
    name=${flag#-} name=${name#-} name=${name,,} name=${name//-/_}
    case $name in
    hf_hub* | hf_t* | hub_t* | push_to_hub_t*) instead='set HF_TOKEN in the environment' ;;
    ms_hub*) instead='set MODELSCOPE_API_TOKEN in the environment' ;;
    swanlab_api_k*) instead='set SWANLAB_API_KEY in the environment' ;;
    api_k*) instead='each server has a random key of its own' ;;
    om_hub* | swanlab_lark* | *token | *_key | *secret | *passw* | *webhook* | *credentials)
      instead='set it in the environment'
      ;;
    *)
      [[ $word =~ $_SECRET ]] || continue
      flag="a secret${flag:+ in $flag}" instead='set it in the environment'
      ;;
    esac
    die "$where has $flag, which would stand in the process list, the logs and the records; take it out: $instead"
  done
}
_SECRET='(^|[^A-Za-z0-9])(hf_[A-Za-z0-9]{20}|sk-[A-Za-z0-9_-]{20}|ghp_[A-Za-z0-9]{20})|://[^/@[:space:]]+:[^/@[:space:]]+@'
_SECRET+='|"(auth_|hub_|hf_|access_)?(token|api_?key|password|secret)"[[:space:]]*:'

_absolute() {
  case $1 in
  /*) printf '%s' "$1" ;;
  \~/*) printf '%s' ~/"${1#\~/}" ;;
  *) printf '%s' "$2/${1#./}" ;;
  esac
}

# _set_numbers NAME VALUE ORIGIN: numbers with spaces, commas or line breaks between them, in brackets or quotes or not,
# ranges. Sets the array NAME.
_set_numbers() {
  local -n numbers=$1
  local number seen=' ' words=() hint what=${1,,} above='' example='0 1 2'
  what=${what%s}
  [[ $1 != SIZES ]] || above=' above 0' example='100 500'
  narrow "$2"
  read -r -a words <<<"${NARROWED//[][()\"\'$'\n\t']/ }"
  for number in "${words[@]}"; do
    ((${#words[@]} == 1)) || [[ ! $number =~ ^[1-9][0-9]{0,2}(,[0-9]{3})+$ ]] ||
      die "'$number' in $1 (from $3): one number or several? write ${number//,/} or ${number//,/ }"
  done
  numbers=()
  read -r -a words <<<"$(printf '%s ' "${words[@]//[,;]/ }")"
  for number in "${words[@]}"; do
    # {100..500..100}: bash has left it as it is, in a text.
    if [[ $number =~ ^\{[0-9]{1,6}(\.\.[0-9]{1,6}){1,2}\}$ ]]; then eval "numbers+=($number)"; else numbers+=("$number"); fi
  done
  ((${#numbers[@]} > 0)) || die "$1 (from $3) is empty; give at least one, for example $1=($example)"
  for number in "${numbers[@]}"; do
    [[ $number != 0 || -z $above ]] || die "size 0 in SIZES (from $3) has nothing to train; --methods zero-shot evaluates the base model"
    hint=''
    [[ ! $number =~ ^[0-9]+(-|~|\.\.+|:)[0-9]+$ ]] || hint='; a range is written {100..500..100}'
    [[ $number =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "$what '$number' in $1 (from $3) is not a whole number$above$hint"
    [[ $seen != *" $number "* ]] || die "$what $number is in $1 (from $3) twice"
    seen+="$number "
  done
}

# _set_list HOW KNOWN: make _set's value a list with spaces between, each once and of KNOWN; that of methods may be auto.
_set_list() {
  local each words seen=' ' known=" ${2//,/ } "
  known=${known/ custom / }
  read -r -a words <<<"${value//[],;()\"\'$'\n\t'[]/ }"
  value=${words[*]-}
  if [[ $type == methods:* ]]; then
    [[ $value != auto ]] || return 0
    [[ -n $value ]] || die "$where is empty; it must $1 some of${known% }"
  fi
  for each in "${words[@]}"; do
    [[ $known == *" $each "* ]] || die "$where has '$each'; it must $1 some of${known% }"
    [[ $seen != *" $each "* ]] || die "$where has $each twice"
    seen+="$each "
  done
}

# _derive PROFILE_DATASET PROFILE_MODEL: what follows from the settings where they are empty.
_derive() {
  local data='' stem pattern
  [[ -n $MODEL ]] || die "profile $PROFILE needs MODEL, a folder or a name on the hub; for example MODEL=Qwen/Qwen2.5-7B-Instruct TEMPLATE=qwen"
  [[ -n $TEMPLATE ]] || die "MODEL=$MODEL needs TEMPLATE, the name of its chat template in LLaMA-Factory; for example TEMPLATE=qwen"
  [[ -z $MODELS || $MODEL == "$2" ]] || die "MODELS and MODEL contradict each other; MODELS holds profiles, each with a model of its own"
  [[ $TRUST_REMOTE_CODE != ask ]] ||
    die "profile $PROFILE runs Python code that comes with its weights, on this machine; if you trust the authors of $MODEL, set TRUST_REMOTE_CODE=1"
  SAVES_DIR=$(short "$SAVES_DIR")
  [[ $MODEL == "$2" ]] || _only_if_given MODEL_SCRIPT
  MODEL=${MODEL/#@saves/"$SAVES_DIR"} # in quotes, for bash 5.2 puts what was found for an &
  stem=${MODEL%/}
  stem=${stem##*/}
  if [[ $SERVER == auto ]]; then
    if [[ $DEVICE == gpu && $BACKEND == vllm ]]; then SERVER=vllm; else SERVER=llamafactory; fi
  fi
  if [[ $TRAINER == auto ]]; then
    if [[ $DEVICE == gpu ]]; then TRAINER=fast; else TRAINER=llamafactory-cli; fi
  fi
  [[ $TRAINER == fast ]] || _only_if_given TRAIN_ARGS # a profile's are for the fast one
  if ((TRUST_REMOTE_CODE)); then
    TRAIN_ARGS+=${TRAIN_ARGS:+ }'--trust_remote_code True'
    SERVER_ARGS+=${SERVER_ARGS:+ }$([[ $SERVER == vllm ]] && echo --trust-remote-code || echo '--trust_remote_code True')
  fi
  [[ $SERVER != vllm || $BACKEND == vllm ]] || die "SERVER=vllm and BACKEND=$BACKEND contradict each other; vllm serve has one engine"
  [[ $MICRO_BATCH == auto ]] || ((BATCH_SIZE * GRADIENT_ACCUMULATION % MICRO_BATCH == 0)) ||
    die "MICRO_BATCH=$MICRO_BATCH does not divide the global batch, BATCH_SIZE x GRADIENT_ACCUMULATION = $((BATCH_SIZE * GRADIENT_ACCUMULATION))"
  # Alone it would make another global batch than the plan counts, and with one above it an accumulation of 0.
  pattern=' --per[_-]device[_-]train[_-]batch[_-]size[ =]'
  [[ ! " $TRAIN_ARGS " =~ $pattern || " $TRAIN_ARGS " == *' --gradient'[_-]'accumulation'[_-]'steps'[\ =]* ]] ||
    die "TRAIN_ARGS has --per_device_train_batch_size without --gradient_accumulation_steps; set MICRO_BATCH, the examples of a step, or BATCH_SIZE, which with GRADIENT_ACCUMULATION makes the global batch"
  [[ $OVERLAP != 1 || $SERVER == vllm ]] || die "OVERLAP=1 needs SERVER=vllm, one server that takes adapters while it runs"
  ((CONSTRAIN == 0)) || [[ $SERVER == vllm ]] || die "CONSTRAIN=1 needs SERVER=vllm: llamafactory-cli api cannot be told the possible answers"
  if [[ -n $TRAIN_FILE ]]; then
    data=${TRAIN_FILE##*/}
    data=${data%.*} data=${data:-data}
  elif [[ $DATASET != "$1" ]]; then
    data=${DATASET%/}
    data=${data##*/}
  fi
  # What a profile or a default says of its own data is not for the user's.
  [[ $DATASET == "${SETTING_DEFAULT[DATASET]}" ]] || _only_if_given DATASET_CONFIG
  [[ -z $data ]] || _only_if_given VALID_COUNT TEST_COUNT
  [[ $TASK == classification ]] || _only_if_given METHODS
  : "${METHODS:=auto}"
  : "${MODEL_NAME:=$(_safe_name "$stem")}"
  data=$(_safe_name "$data")
  if [[ -z $SWEEP_NAME ]]; then
    SWEEP_NAME=${MODELS:-$PROFILE}
    SWEEP_NAME=${SWEEP_NAME// /+}
    [[ $MODEL == "${2/#@saves/"$SAVES_DIR"}" ]] || SWEEP_NAME=$MODEL_NAME
    SWEEP_NAME+=${data:+-$data}
    [[ $TASK == classification ]] || SWEEP_NAME+=-$TASK
  fi
  LOGS_DIR=$(short "$LOGS_DIR")
  OBJS_DIR=$(short "$OBJS_DIR")
  DATA_DIR=$(short "${DATA_DIR:-$ROOT/data/$SWEEP_NAME}")
  _check_names
  _check_revisions
}

# is_hub_name NAME: OWNER/NAME, and no folder.
is_hub_name() { [[ $1 == */* && $1 != */*/* && $1 != [./~]* && ! -d $ROOT/$1 ]]; }

# _check_revisions: die where one would be without effect, or be hidden by another.
_check_revisions() {
  local flags=" $TRAIN_ARGS $SERVER_ARGS" pattern=' --((model|tokenizer)[_-])?revision[ =]'
  [[ ! $flags =~ $pattern ]] || die "TRAIN_ARGS and SERVER_ARGS take no${BASH_REMATCH[0]%[ =]}; set MODEL_REVISION, which all that load the model are told"
  [[ $SERVER != llamafactory || $BACKEND != vllm || " $SERVER_ARGS" != *' --vllm'[_-]'config'* ]] || ! is_hub_name "$MODEL" ||
    die "SERVER_ARGS has --vllm_config, which would hide the model's revision from the engine; set SERVER=vllm, or MODEL=FOLDER"
  if [[ -n $MODEL_REVISION ]]; then
    [[ -z $MODELS ]] || die "MODELS and MODEL_REVISION contradict each other; a revision is of one model: MODEL=OWNER/NAME"
    is_hub_name "$MODEL" || die "MODEL_REVISION=$MODEL_REVISION is of a model on the hub, and MODEL=$MODEL is none; unset it, or set MODEL=OWNER/NAME"
    ((USE_MODELSCOPE_HUB == 0)) || die "MODEL_REVISION has no effect with USE_MODELSCOPE_HUB=1, whose cache has one revision of a model; fetch it (modelscope download --model $MODEL --revision $MODEL_REVISION --local_dir FOLDER) and set MODEL=FOLDER"
  fi
  [[ -z $DATASET_REVISION || -n $TRAIN_FILE ]] || [[ $DATASET != [./~]* && $DATASET != synthetic-patents && ! -d $ROOT/$DATASET ]] ||
    die "DATASET_REVISION=$DATASET_REVISION is of a data set on the hub, and DATASET=$DATASET is none; unset it, or set DATASET=OWNER/NAME"
}

# _only_if_given NAME...: empty each that neither a flag nor a variable nor settings.sh has set.
_only_if_given() {
  local name
  for name; do
    [[ -v from_flag[$name] || -v from_env[$name] || -v from_file[$name] ]] || printf -v "$name" ''
  done
}

# _safe_name TEXT: a part of a sweep's name, made of the name of a file or a model: short, and nothing in it that a part
# of the stack reads as syntax (_check_names).
_safe_name() {
  local LC_ALL=C name=$1 high=$'[\x80-\xff]' sum
  # A no-break or an ideographic space is a space in some locales only.
  name=${name//[[:space:][:cntrl:]*?[,\$]/_}
  name=${name//::/_} name=${name//$'\xc2\xa0'/_} name=${name//$'\xe3\x80\x80'/_}
  _is_utf8 "$name" || name=${name//$high/_}
  if ((${#name} > 60)); then
    sum=$(cksum <<<"$name")
    name=${name:0:48}
    [[ $name != *$high ]] || name=${name%[$'\xc0'-$'\xff']*} # the last character may have been cut
    name+=-${sum%% *}
  fi
  printf '%s' "${name/#[.-]/_}"
}

_is_utf8() {
  local LC_ALL=C
  [[ $1 != *[$'\x80'-$'\xff']* ]] || ! command -v iconv >/dev/null || iconv -f UTF-8 -t UTF-8 <<<"$1" &>/dev/null
}

_is_too_long() {
  local LC_ALL=C # counted in bytes, as file systems do
  ((${#1} > 130))
}

# _check_names: neither a name nor a folder holds what a part of the stack reads as syntax. Patterns: datasets and vLLM
# (* ? [). Variables and chains of file systems: datasets ($ :: ://). Lists of adapters: LLaMA-Factory (,).
_check_names() {
  local name path
  for name in ROOT "${SETTING_NAMES[@]}"; do
    _is_utf8 "${!name}" || die "$name is ${!name@Q}, which is not UTF-8 and can stand in no record; rename it"
  done
  for name in SWEEP_NAME MODEL_NAME; do
    [[ ${!name} != *[[:cntrl:]*?[,\$]* && ${!name} != *::* && ${!name} != .* ]] ||
      die "$name is ${!name@Q}; a name must not begin with a dot nor hold any of , * ? [ \$ :: and control characters"
    ! _is_too_long "${!name}" || die "$name has more than 130 bytes; files are named after it, so give a shorter one"
  done
  for name in ROOT DATA_DIR SAVES_DIR LOGS_DIR OBJS_DIR MODEL; do
    path=${!name}
    [[ $path == *[[:cntrl:]*?[\$]* || $path == *::* || $path == *://* || $path == [-~\ ]* || ($name == SAVES_DIR && $path == *,*) ]] || continue
    [[ $name != ROOT ]] || die "the project's folder is ${path@Q}; LLaMA-Factory, datasets or vLLM would misread that: rename it without any of * ? [ \$ :: and control characters"
    die "$name is ${path@Q}; LLaMA-Factory, datasets or vLLM would misread that: choose a folder without any of , * ? [ \$ :: and control characters, not beginning with - ~ or a space, or a symbolic link to it"
  done
}

# What is found out about the hardware (bin/lib/device.bash): no settings, and beside them in the settings file.
FOUND_OUT=(GPUS KV_CACHE_BYTES MAX_LORA_RANK SERVER_QUANTIZATION RUST_FRONT SERVER_GRAPHS MODEL_LENGTH MODEL_COMMIT)

# write_settings FILE: every setting as it is now, as JSON: what this script's children and our programs go by. Not
# ON_FINISH, which may hold a secret and is for nobody else.
write_settings() {
  local name text='' value
  for name in "${SETTING_NAMES[@]}" "${FOUND_OUT[@]}"; do
    [[ $name != ON_FINISH ]] || continue
    local -n value_of=$name
    value=${value_of[*]-}
    unset -n value_of
    value=${value//\\/\\\\}
    value=${value//\"/\\\"}
    value=${value//$'\n'/\\n}
    value=${value//$'\t'/\\t}
    ! has_control_characters "$value" || die "$name holds a control character"
    text+="${text:+,}"$'\n'"  \"$name\": \"$value\""
  done
  { printf '{%s\n}\n' "$text" >"$1.part" && mv -f -- "$1.part" "$1"; } 2>/dev/null ||
    die "$1: cannot be written; check the free disk (df -h) and its owner and mode (ls -ld)"
}

# read_settings FILE: what write_settings wrote, or one of our programs (one `"NAME": "text"` a line).
read_settings() {
  local line name value
  while IFS= read -r line; do
    [[ $line =~ ^\ +\"([A-Z0-9_]+)\":\ \"(.*)\",?$ ]] || continue
    name=${BASH_REMATCH[1]}
    value=${BASH_REMATCH[2]//\\\"/\"}
    printf -v value '%b' "$value"
    case $name in
    ON_FINISH) ;; # write_settings leaves it out; the default that py/plan.py writes must not replace ours
    SIZES | SEEDS | GPUS) read -r -a "${name?}" <<<"$value" ;;
    *) printf -v "$name" '%s' "$value" ;;
    esac
  done <"$1" || die "$1: the settings of this sweep are gone; start it again with bin/sweep.sh"
  [[ -v SIZES ]] || die "$1: holds no settings; start the sweep again with bin/sweep.sh"
}

has_control_characters() { [[ $1 == *[$'\x01'-$'\x1f\x7f']* ]]; }
