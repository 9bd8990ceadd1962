# Child processes: each in a process group of its own, ended as a group, none left behind.
# shellcheck shell=bash

declare -A CHILDREN=() # process group -> what it is, for messages
declare -A FAMILY=()   # process group of a script of ours -> the mark that everything below it carries
STARTING=0             # a child runs that is not in CHILDREN yet
ENDED_BY=''            # the exit status of a signal that came meanwhile
AT_EXIT=''             # a function that end_children calls last, with the exit status

# start_group WHAT LOG COMMAND...: run COMMAND in its own process group (a session, so that a terminal's Ctrl-C
# reaches this script alone, which then ends its children in order). Output goes to LOG; - keeps this script's own.
# Sets GROUP. The descriptor 9 holds the sweep's lock and is not handed on. When this script dies without a chance to
# clean up (SIGKILL), the kernel sends TERM to COMMAND.
start_group() {
  local what=$1 log=$2
  shift 2
  STARTING=1
  if [[ $log == - ]]; then
    setpriv --pdeathsig TERM setsid -- "$@" </dev/null 9>&- &
  else
    setpriv --pdeathsig TERM setsid -- "$@" </dev/null >>"$log" 2>&1 9>&- &
  fi
  GROUP=$!
  CHILDREN[$GROUP]=$what
  # From here on end_children knows it; a signal that came in between is obeyed now.
  STARTING=0
  [[ -z $ENDED_BY ]] || exit "$ENDED_BY"
}

# start_family WHAT COMMAND...: start_group for a program of ours that starts groups of its own: it ends them before it
# ends; killed earlier it would leave them behind. Everything that it starts carries a mark in its environment: what a
# program that was killed could not end is found by it. With SPT_NOENV the title that a program gives itself
# (setproctitle; vLLM's EngineCore) does not overwrite it.
start_family() {
  local mark
  mark=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
  SPT_NOENV=1 FEWSHOT_FAMILY=${FEWSHOT_FAMILY-:}$mark: start_group "$1" - "${@:2}"
  FAMILY[$GROUP]=$mark
}

# start_script WHAT SCRIPT ARGUMENT...: start_family for a script of ours, which need not be executable (an unpacked ZIP
# has no such bits), nor clean its environment of functions again.
start_script() { start_family "$1" "$BASH" -p "${@:2}"; }

# _family MARK: the processes that carry it.
_family() {
  local file
  grep -lzsE "^FEWSHOT_FAMILY=.*:$1:" /proc/[0-9]*/environ | while IFS= read -r file; do
    file=${file#/proc/}
    printf '%s\n' "${file%/environ}"
  done
}

# _end_family MARK WHAT: end what is left of it, deaf to TERM or not.
_end_family() {
  local deadline pid signal=TERM found
  found=$(_family "$1")
  [[ -n $found ]] || return 0
  warn "$2 has left processes behind; ending them"
  now
  deadline=$((NOW + STOP_TIMEOUT))
  while [[ -n $found ]]; do
    for pid in $found; do kill -"$signal" "$pid" 2>/dev/null || true; done
    sleep 0.1
    now
    ((NOW < deadline)) || signal=KILL
    ((NOW < deadline + 10)) || {
      warn "$2: process $(tr '\n' ' ' <<<"$found")cannot be ended"
      return 1
    }
    found=$(_family "$1")
  done
}

# now: set NOW, seconds since the machine's start. SECONDS follows the clock of the day, which may be set back.
now() {
  read -r NOW _ </proc/uptime
  NOW=${NOW%.*}
}

# run_child WHAT COMMAND...: run it to its end and return its status. Unlike a command in the foreground it ends at once
# when this script is told to end.
run_child() {
  start_group "$1" - "${@:2}"
  wait_group "$GROUP"
}

# group_members GROUP: the live (not zombie) processes of a group. Reads /proc: `ps` is not in every container.
group_members() {
  local stat line fields
  for stat in /proc/[0-9]*/stat; do
    { line=$(<"$stat"); } 2>/dev/null || continue # it has just ended
    read -r -a fields <<<"${line##*) }"           # the name in parentheses may hold anything: state, ppid and pgrp follow it
    # Empty where the process ended between the opening and the reading.
    [[ ${fields[2]-} == "$1" && ${fields[0]} != [ZX] ]] && printf '%s\n' "${line%% *}"
  done
  return 0
}

# stop_group GROUP: TERM, KILL after STOP_TIMEOUT seconds, and proof that nothing is left.
# Returns 1 when something survives even KILL (a process stuck in the kernel or the GPU driver).
stop_group() {
  local group=$1 what=${CHILDREN[$1]-process group $1} patience=${STOP_TIMEOUT:-30} deadline killed=''
  [[ ! -v FAMILY[$group] ]] || patience=$((3 * STOP_TIMEOUT + 60)) # it ends groups of its own, each within STOP_TIMEOUT
  _signal_group TERM "$group"
  now
  deadline=$((NOW + patience))
  until [[ -z $(group_members "$group") ]]; do
    now
    if ((NOW >= deadline)) && [[ -n $killed ]]; then
      warn "$what cannot be ended: process $(group_members "$group" | tr '\n' ' ')is stuck"
      unset "CHILDREN[$group]" "FAMILY[$group]"
      return 1
    elif ((NOW >= deadline)); then
      warn "$what did not end within $patience s of TERM; killing it"
      _signal_group KILL "$group"
      killed=1 deadline=$((NOW + 10))
    fi
    sleep 0.1
  done
  wait "$group" 2>/dev/null || true
  if [[ -v FAMILY[$group] ]]; then _end_family "${FAMILY[$group]}" "$what" || true; fi
  unset "CHILDREN[$group]" "FAMILY[$group]"
}

# _signal_group SIGNAL GROUP: the group exists from setsid on. In the instant before, the child is a copy of this shell,
# in which a signal can be lost: it is waited for, for a second at most.
_signal_group() {
  local i
  for ((i = 0; i < 100; i++)); do
    if kill -"$1" -- "-$2" 2>/dev/null || ! kill -0 "$2" 2>/dev/null; then return 0; fi
    sleep 0.01
  done
  kill -"$1" "$2" 2>/dev/null || true
}

# wait_group GROUP: wait for its leader, return its exit status, and end what it may have left behind.
wait_group() {
  local status=0
  wait "$1" || status=$?
  stop_group "$1" || true
  return "$status"
}

# own_children: from now on, every child group ends with this script, however it ends. INT, TERM and HUP exit with
# 130, 143 and 129; what is said to a pipe that nobody reads any more ends nothing; bash runs a trap only between commands, so whatever takes long is started with start_group and
# awaited with `wait`, which a signal interrupts.
own_children() {
  trap 'end_children "$?"' EXIT
  trap '_leave 130' INT
  trap '_leave 143' TERM
  trap '_leave 129' HUP
  ((DRY_RUN)) || trap 'exec 2>/dev/null' PIPE
}

_leave() {
  # Not `exit`, on whose way to end_children a second signal would come through: bash runs a trap for EXIT only once.
  if ((STARTING)); then ENDED_BY=$1; else end_children "$1"; fi
}

# end_children STATUS: end them all, then this script.
end_children() {
  local status=$1 group
  trap '' INT TERM HUP # cleaning up is not interrupted by an impatient second Ctrl-C
  trap - EXIT
  for group in "${!CHILDREN[@]}"; do _signal_group TERM "$group"; done
  for group in "${!CHILDREN[@]}"; do stop_group "$group" || true; done
  [[ -z $AT_EXIT ]] || "$AT_EXIT" "$status" || true
  [[ -z $OWN_SETTINGS ]] || rm -f -- "$OWN_SETTINGS"
  exit "$status"
}
