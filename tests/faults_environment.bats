#!/usr/bin/env bats
# The fault matrix: a sweep is started from an environment that was made for other work, and with nowhere to print to.

load helpers/faults

fault "the caller's variables, options and functions, no execute bits" "$EVERYWHERE" hostile
hostile() {
  before "$1"
  # As an unpacked ZIP; by way of a link; with nothing on PATH but what is looked for at the start.
  mkdir -- "$WORK/unpacked" "$WORK/path"
  cp -r -- "$PROJECT/bin" "$PROJECT/py" "$PROJECT/requirements.lock" "$PROJECT/pyproject.toml" "$WORK/unpacked/"
  chmod -R a-x,a+X -- "$WORK"/unpacked/{bin,py}/*
  ln -s -- "$WORK/unpacked/bin/sweep.sh" "$WORK/link"
  ln -s -- "$WORK/link" "$WORK/a link to it"
  local program needed
  needed=$(PATH='' "$BASH" "$PROJECT/bin/setup.sh" 2>&1) || true
  needed=$(sed 's/.*PATH: //; s/;.*//; s/ (package [^)]*),*//g; s/mawk or gawk//' <<<"$needed")
  for program in $needed bash; do ln -s -- "$(type -P "$program")" "$WORK/path/"; done
  PATH=$WORK/path ran bash "$PROJECT/tests/helpers/hostile.bash" bash "$WORK/a link to it"
  as_undisturbed
  not_said 'an exported function'
  ! grep 'is inherited' "$STUB/calls" || fail 'the trainer or the server has what was meant for other work'
  once
}

fault 'nowhere to print to' "$EVERYWHERE" nowhere_to_print
nowhere_to_print() {
  before "$1"
  # A pipe that nobody reads any more, a full disk, and no input.
  ran bash -c '"$@" <&- 2>/dev/full | true; exit "${PIPESTATUS[0]}"' _ "$PROJECT/bin/sweep.sh"
  as_undisturbed
  once
}
