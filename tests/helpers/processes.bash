# Scripts in the background, latches, signals, and the proof that nothing is left.
# shellcheck shell=bash

# start NAME ARGUMENT...: start bin/NAME as a terminal or init would: in a session of its own, no signal ignored (bash
# lets what it starts with & ignore INT). IGNORE=HUP stands for nohup. Input comes from
# the file INPUT, output goes to WORK/output.
start() {
  local signals=(--default-signal=INT --default-signal=HUP)
  : >"$WORK/output" # nobody waits for what an earlier one said
  [[ -z ${IGNORE-} ]] || signals+=("--ignore-signal=$IGNORE")
  setsid env "${signals[@]}" MARK="$BATS_TEST_TMPDIR" "$PROJECT/bin/$1" "${@:2}" \
    <"${INPUT:-/dev/null}" >"$WORK/output" 2>&1 3>&- {AT}>&- {GO}>&- &
  STARTED=$!
}

# reached PLACE: wait until one of the stubs says that it is there.
reached() {
  local place=''
  read -r -t 300 -u "$AT" place || fail "nothing was reached in 300 s, $1 was expected; output:" "$(<"$WORK/output")"
  equal "$1" "$place"
}

# reached_both PLACE PLACE: the same for two, in either order.
reached_both() {
  local one='' other=''
  { read -r -t 300 -u "$AT" one && read -r -t 300 -u "$AT" other; } || fail "only '$one' was reached; output:" "$(<"$WORK/output")"
  equal "$(printf '%s\n' "$@" | sort)" "$(printf '%s\n' "$one" "$other" | sort)"
}

# release: let one stub that waits go on.
release() { echo >&"$GO"; }

# signal INT|TERM|HUP: INT goes to the whole group, as a terminal's Ctrl-C does; TERM and HUP to the script alone.
signal() {
  if [[ $1 == INT ]]; then kill -INT -- "-$STARTED"; else kill "-$1" "$STARTED"; fi
}

# finished: wait until the script has ended, however it ends; sets status and output.
finished() {
  patiently gone "$STARTED" || fail "the script did not end; output:" "$(<"$WORK/output")"
  status=0
  wait "$STARTED" 2>/dev/null || status=$?
  # shellcheck disable=SC2034 # for the tests, as bats' run sets it
  output=$(<"$WORK/output")
  while read -r -t 0 -u "$AT"; do read -r -u "$AT"; done # what else the stubs said
}

# ended STATUS: the same, with this status.
ended() {
  finished
  status_is "$1"
}

gone() { ! kill -0 "$1" 2>/dev/null; }

# patiently COMMAND...: repeat it until it succeeds, for up to 300 s (other work may go on beside the tests), or PATIENTLY.
patiently() {
  local deadline=$((SECONDS + ${PATIENTLY:-300}))
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    read -r -t 0.02 <> <(:) || true # as a sleep, without a process
  done
}

# occupy PORT: another program listens on it until the test ends.
occupy() {
  MARK="$BATS_TEST_TMPDIR" "$STUB_PYTHON" -c 'import socket, sys
port, sys.path[0] = sys.argv[1:]
import latch
with socket.create_server(("127.0.0.1", int(port))):
    latch.wait(f"port {port}")' "$1" "$PROJECT/tests/stubs" 3>&- &
  disown
  reached "port $1"
}

# left: the processes that this test's scripts have left behind.
left() {
  local file
  grep -lzsxF "MARK=$BATS_TEST_TMPDIR" /proc/[0-9]*/environ | while IFS= read -r file; do
    file=${file#/proc/}
    echo "${file%/environ}"
  done
}

# pid_of PATTERN: the test's first process whose command line matches; kill_the PATTERN: end it with SIGKILL.
pid_of() {
  local pid line
  for pid in $(left | sort -n); do
    line=$({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null) || continue
    # shellcheck disable=SC2053 # a pattern
    [[ $line != *$1* ]] || {
      echo "$pid"
      return
    }
  done
  fail "no process '$1'"
}

kill_the() {
  local pid
  pid=$(pid_of "$1")
  kill -KILL "$pid"
}

# nothing_runs: for `patiently`, where an end is not to be waited for otherwise.
nothing_runs() { [[ -z $(left) ]]; }

# nothing_left: no process, nothing that listens.
nothing_left() {
  local pid found=()
  for pid in $(left); do found+=("$pid: $(tr '\0' ' ' <"/proc/$pid/cmdline")"); done
  ((${#found[@]} == 0)) || fail "left behind:" "${found[@]}"
  ! listens "$PORT" || fail "something listens on port $PORT"
}

# no_key_in PATH...: no server's key is in these files.
no_key_in() {
  local found status=0
  found=$(grep -rlF -f "$STUB/keys" -- "$@") || status=$?
  ((status == 1)) || fail "grep: status $status; a key is in: $found"
}

# end_thieves: the programs that the stub has given a port to.
end_thieves() { [[ ! -s $STUB/thieves ]] || xargs -a "$STUB/thieves" kill -KILL 2>/dev/null || true; }

# end_leftovers: for teardown; only processes of this test.
end_leftovers() {
  end_thieves
  local pid
  for pid in $(left); do kill -KILL "$pid" 2>/dev/null || true; done
}
