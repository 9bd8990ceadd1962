#!/usr/bin/env bats
# bin/lib/process.bash: groups of processes, and what a signal at an awkward moment does.

load helpers/common
load helpers/processes

setup() { make_work; }
teardown() { end_leftovers; }

# library COMMANDS: run them with the library; sets status and output.
library() {
  export -f in_library
  export PROJECT
  ran bash -c 'in_library "$1"' _ "$1"
}

@test "a signal between the start of a child and the note of it is obeyed, and the child is ended" {
  library 'own_children; set -T
    trap "[[ \$BASH_COMMAND != GROUP=* ]] || kill -TERM \$\$" DEBUG
    start_group "a child" - bash -c "read <>\"$STUB/go\""
    echo unreachable'
  status_is 143
  not_said unreachable
  nothing_left
}

@test "a second signal just before the cleaning up begins does not prevent it, nor does it when the end was no signal's" {
  local end
  for end in 'kill -TERM $$' 'exit 143'; do
    library "own_children; set -T; again=1
      start_group 'a child' - bash -c 'read <>\"$STUB/go\"'
      AT_EXIT=bye; bye() { echo \"bye \$1\"; }
      trap '[[ \$again == 0 || \${FUNCNAME-} != end_children ]] || { again=0; kill -TERM \$\$; }' DEBUG
      $end; echo unreachable"
    status_is 143
    equal 'bye 143' "$output"
    nothing_left
  done
}

@test "a script that is ended by set -e ends its children too, and keeps its exit status" {
  library 'own_children; start_group "a child" - bash -c "read <>\"$STUB/go\""; (exit 7); echo unreachable'
  status_is 7
  not_said unreachable
  nothing_left
}

@test "wait_group: the exit status of the leader; the rest of the group is ended" {
  library 'start_group "a child" "$STUB/log" bash -c "bash -c \"read <>\\\"\$STUB/go\\\"\" & echo hello; exit 5"
    status=0; wait_group "$GROUP" || status=$?; echo "$status ${#CHILDREN[@]}"'
  equal '5 0' "$output"
  equal hello "$(<"$STUB/log")"
  nothing_left
}

@test "group_members: also of a program whose name looks like the fields behind it" {
  cp -- "$(command -v sleep)" "$WORK/a) Z 1 ("
  library 'start_group "a child" - "$WORK/a) Z 1 (" 100
    until [[ $(group_members "$GROUP") == "$GROUP" ]]; do :; done
    stop_group "$GROUP"; echo "$? $(group_members "$GROUP")"'
  equal '0 ' "$output"
  nothing_left
}

@test "start_family: what a killed program leaves is found and ended, also under a title of its own, as vLLM's EngineCore" {
  "$STUB_PYTHON" -c 'import setproctitle' 2>/dev/null || skip 'vLLM, and with it setproctitle, is not installed'
  cat >"$WORK/titled.py" <<'END'
import os
import setproctitle
setproctitle.setproctitle("VLLM::EngineCore")
with open(os.environ["STUB"] + "/at", "w") as at:
    print("titled", file=at)
open(os.environ["STUB"] + "/go").read()
END
  library 'STOP_TIMEOUT=5; own_children
    start_family "a program" bash -c "setsid \"\$STUB_PYTHON\" \"\$WORK/titled.py\" & wait"
    read -r <"$STUB/at"; kill -KILL "$GROUP"; wait_group "$GROUP" || true'
  said 'a program has left processes behind; ending them'
  nothing_left
}

@test "the lock of the sweep is not handed on to children" {
  library 'own_children; exec 9>"$STUB/lock"; flock -n 9
    start_group "a child" - bash -c "echo here >\"$STUB/at\"; read <>\"$STUB/go\""
    read -r <>"$STUB/at"
    exec 9>&-
    flock -n "$STUB/lock" echo free
    stop_group "$GROUP"'
  equal free "$output"
}
