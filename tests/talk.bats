#!/usr/bin/env bats
# bin/chat.sh and bin/serve.sh: what is said, what the server was asked, that none is left.

load helpers/common
load helpers/processes
load helpers/one_server

setup() {
  make_work
  mkfifo "$WORK/keyboard"
  mkdir "$WORK/tmp"
  export TMPDIR=$WORK/tmp
}
teardown() { end_leftovers; }

# chat ARGUMENT...: start bin/chat.sh, and wait until it asks for something.
chat() {
  INPUT=$WORK/keyboard start chat.sh "$@"
  exec {KEYBOARD}>"$WORK/keyboard"
  PROMPTS=0
  asks
}

# type_in TEXT: type it, and wait until the next message is asked for.
type_in() {
  cat <<<"$1" >&"$KEYBOARD" # all lines in one write: one message
  asks
}

asks() {
  PROMPTS=$((PROMPTS + 1))
  patiently prompts_are "$PROMPTS" || fail "no prompt $PROMPTS:" "$(<"$WORK/output")"
}
prompts_are() { (($(grep -oE '^> |[^ ]> ' "$WORK/output" | wc -l) >= $1)); }

# hang_up: Ctrl-D.
hang_up() { exec {KEYBOARD}>&-; }

# asked N: the N-th question's messages but for the system's, as ROLE: TEXT lines.
asked() {
  sed -n "$1p" "$STUB/asked" | "$STUB_PYTHON" -I -c 'import json, sys
for each in json.load(sys.stdin)[1:]: print(each["role"], each["content"], sep=": ")'
}

# no_trace: no key but where it may be, no settings file, no process.
no_trace() {
  run ! grep -rlF -f "$STUB/keys" -- "$LOGS" "$OBJS" "$STUB/calls" "$@"
  equal '' "$(ls "$TMPDIR")"
  nothing_left
}

@test "a conversation: it is streamed, what was said goes along, /reset forgets it, /system, /quit" {
  with_adapters
  chat demo-llm_train_16
  said_now "size 16 of demo. /reset forgets what was said, /system shows the instruction, /quit ends." \
    'system: You are a document classifier.' \
    'The training had "Classify the document:\n" before each text; what you type is sent as it is.'
  run ! grep -qF -f "$STUB/keys" <(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n')
  type_in 'document 1 about Plants: of two
lines'
  type_in 'and this?'
  equal 'user: document 1 about Plants: of two
lines
assistant: Plants
user: and this?' "$(asked 2)"
  type_in /reset
  type_in 'document 2 about Animals: word'
  equal 'user: document 2 about Animals: word' "$(asked 3)"
  type_in /nonsense
  type_in /system
  printf '/quit\n' >&"$KEYBOARD"
  ended 0
  equal "> Plants
> Which document?
> forgotten
> Animals
> /reset forgets what was said, /system shows the instruction, /quit ends
> system: You are a document classifier. When given the text, you classify the text into one of the following categories:" \
    "$(grep '^> ' <<<"$output" | head -6)"
  no_trace "$WORK/output"
}

# said_now TEXT...: the script that runs has said it.
said_now() {
  output=$(<"$WORK/output")
  said "$@"
}

@test "Ctrl-D, Ctrl-C and TERM end the server, too" {
  with_adapters
  chat demo-llm_train_4
  hang_up
  ended 0
  no_trace "$WORK/output"
  local each
  for each in 'INT 130' 'TERM 143'; do
    chat # the base model
    said_now 'zero-shot of demo.'
    signal "${each% *}"
    ended "${each#* }"
    hang_up
    no_trace "$WORK/output"
  done
  plan api-4 wait
  start chat.sh demo-llm_train_4 --ask x
  reached 'api 4' # it is not ready yet
  signal INT
  ended 130
  no_trace "$WORK/output"
}

@test "a server that dies in the middle of an answer ends the conversation; another failure does not" {
  with_adapters
  plan api-4 500=1
  chat demo-llm_train_4
  type_in 'document 1 about Plants: word'
  said_now 'error: HTTP 500: {"error": "come back later"}'
  type_in 'document 2 about Plants: word'
  equal 'user: document 2 about Plants: word' "$(asked 1)" # what was not answered is forgotten
  hang_up
  ended 0
  nothing_left

  plan api-4 cut=2
  chat demo-llm_train_4
  type_in 'document 2 about Plants: word'
  printf 'what else?\n' >&"$KEYBOARD"
  ended 1
  said '> Which '$'\n''error: no connection, or it broke: ' 'size 4: the server ended in the middle, with status 1' \
    "--- last lines of $LOGS/demo-llm_train_4.server.log" 'RuntimeError: the engine is dead'
  nothing_left
}

@test "--ask prints the answer alone; a failure is status 1, and nothing but a line on stderr" {
  with_adapters
  equal Animals "$("$PROJECT/bin/chat.sh" demo-llm_train_16 --seeds 42 --ask 'document 2 about Animals: word' 2>"$WORK/err")"
  nothing_left
  plan api-16 500=1-
  script chat.sh demo-llm_train_16 --ask 'document 1 about Plants: word'
  status_is 1
  said 'error: HTTP 500: {"error": "come back later"}'
  not_said Traceback
  plan api-16 die
  script chat.sh demo-llm_train_16 --ask x
  status_is 2
  said 'ValueError: the weights are not there' "error: there is no server: the server's process "
}

@test "what cannot be talked to, in one line and without a server" {
  script chat.sh demo-llm_train_4
  status_is 2
  said "error: $WORK/data: there is no data; make it with bin/build_data.sh"
  with_data
  mkdir -p "$LOGS"
  in_library 'load_settings --sweep-name other; write_settings "$LOGS_DIR/other.settings.json"'
  local there='demo-llm_train_4 demo-llm_train_8 demo-llm_train_16'
  while IFS='|' read -r command message; do
    # shellcheck disable=SC2086 # the words of a command
    script $command
    status_is 2
    equal "error: $message" "$output"
  done <<END
chat.sh demo-llm_train_4|demo-llm_train_4 is not trained; train it with bin/train.sh
chat.sh demo-llm_train_5|no run demo-llm_train_5 in this sweep that a server answers for; there are: $there
chat.sh other-llm_train_4|other-llm_train_4 is a run of another sweep; with the settings of that one: FEWSHOT_SETTINGS=$(printf %q "$LOGS/other.settings.json") bin/chat.sh other-llm_train_4
chat.sh demo-llm_train_4 --ask|the text to ask is missing; see --help
chat.sh --seeds 42 --ask|the text to ask is missing; see --help
chat.sh demo-zero-shot --methods k-shot|no run demo-zero-shot in this sweep that a server answers for; there are: demo-k-shot_4 demo-k-shot_8 demo-k-shot_16
chat.sh demo-k-shot_4 --methods k-shot|k-shot, size 4: the base model with examples in each question; give demo-zero-shot instead
serve.sh --host|the address to listen at is missing; see --help
serve.sh x --host 10.0.0.1|10.0.0.1: 127.0.0.1 is this machine alone, 0.0.0.0 lets others in
serve.sh demo-zero-shot demo-zero-shot --methods zero-shot|llamafactory-cli api serves one run; give one, or set SERVER=vllm
serve.sh|which runs? there are: $there
END
  equal '' "$(<"$STUB/calls")"
}

@test "serve: URL, key and model once; it serves until TERM; a server that ends is status 1" {
  with_adapters
  start serve.sh demo-llm_train_16
  patiently grep -q '^Ctrl-C' "$WORK/output"
  equal "url:    http://127.0.0.1:$PORT/v1
key:    $(<"$STUB/keys")
models: demo-llm_train_16
Ctrl-C ends it." "$(tail -4 "$WORK/output")"
  said_now "size 16: starting the server (log: $LOGS/demo-llm_train_16.server.log)"
  signal TERM
  ended 143
  no_trace

  start serve.sh demo-llm_train_16 --request-timeout 5
  patiently grep -q '^Ctrl-C' "$WORK/output"
  kill_the 'server.py'
  ended 1
  said 'size 16: the server ended in the middle, with status 137' '--- last lines of '
  nothing_left
}

@test "serve: several with SERVER=vllm, each by its name, from every address" {
  one_server
  with_adapters
  start serve.sh --host 0.0.0.0 demo-llm_train_4 demo-llm_train_16
  patiently grep -q '^Ctrl-C' "$WORK/output"
  said_now "url:    http://$(hostname):$PORT/v1" 'models: demo-llm_train_4, demo-llm_train_16'
  grep -qF -- '--max-loras 2' "$STUB/calls"
  grep -qF -- '--host 0.0.0.0' "$STUB/calls"
  signal INT
  ended 130
  no_trace
}

@test "demo: its URL; it ends with Ctrl-C and TERM" {
  with_data
  local machine signal status host
  while read -r machine signal status host; do
    # shellcheck disable=SC2086 # two words or none
    start demo.sh $host
    patiently grep -q '^Ctrl-C' "$WORK/output"
    [[ $(tail -2 "$WORK/output") =~ ^page:\ +http://$machine:([0-9]+).Ctrl-C\ ends\ it\.$ ]] || fail "$(<"$WORK/output")"
    listens "${BASH_REMATCH[1]}"
    signal "$signal"
    ended "$status"
    run ! listens "${BASH_REMATCH[1]}"
    no_trace "$WORK/output"
  done <<END
127.0.0.1 INT 130
$(hostname) TERM 143 --host 0.0.0.0
END
}
