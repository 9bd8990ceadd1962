#!/usr/bin/env bats
# The fault matrix: TERM, INT and HUP, in every phase, once and again, to children that are deaf.

load helpers/faults

fault 'TERM' "$EVERYWHERE" signalled TERM 143
fault 'INT (Ctrl-C)' "$EVERYWHERE" signalled INT 130
fault 'HUP (the terminal closes)' "$EVERYWHERE" signalled HUP 129
signalled() {
  enter "$1"
  signal "$2"
  ended "$3"
  recovers
}

fault 'TERM, a child is deaf to it' 'training, server start' signalled_deaf
signalled_deaf() {
  deaf "$1"
  signal TERM
  ended 143
  said 'did not end within 1 s of TERM; killing it'
  not_said 'cannot be ended' 'has left processes behind'
  recovers
}

fault 'INT twice, a child is deaf' 'training, server start' signalled_twice
signalled_twice() {
  local child='train 4'
  [[ $1 == training ]] || child='api 4'
  PATIENCE=10 deaf "$1"
  signal INT
  reached "$child was told to end" # sent earlier, the second would be taken for the first
  signal INT
  ended 130
  recovers
}

fault 'HUP under nohup' 'training, server start, evaluation' ignored
ignored() {
  IGNORE=HUP enter "$1"
  signal HUP
  release
  finished
  not_said 'ended with status'
  as_undisturbed
  once
}

fault "TERM while a record is written" 'data, training, evaluation, results' writer_signalled
writer_signalled() {
  write_held "$1"
  signal TERM
  # What is in the middle of a step's own command is waited for.
  release
  ended 143
  recovers
}
