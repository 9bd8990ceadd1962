#!/usr/bin/env bats
# bin/test.sh: a failing test is a failing exit status.

load helpers/common

setup() {
  make_work
  ln -s -- "${STUB_PYTHON%/*}/bats" "$FEWSHOT_VENV/bin/"
}

# tested FILE...: run bin/test.sh with a bats that is not part of this one.
tested() {
  local hidden=()
  readarray -t hidden < <(compgen -e BATS_)
  ran env "${hidden[@]/#/--unset=}" "$PROJECT/bin/test.sh" "$@"
}

@test "bin/test.sh passes with passing tests, and fails with a failing one of bats or pytest" {
  printf '%s\n' '@test "passes" {' 'true' '}' >"$WORK/passes.bats"
  printf '%s\n' 'def test_passes(): pass' >"$WORK/test_passes.py"
  tested "$WORK/passes.bats" "$WORK/test_passes.py"
  status_is 0
  said 'ok 1 passes' '1 passed'
  tested "$WORK/passes.bats" "$WORK/missing.bats"
  status_is 2
  said "error: $WORK/missing.bats: no such file"
  tested "$PROJECT/tests/canary/fails.bats"
  status_is 1
  said 'not ok 1 fails'
  tested "$PROJECT/tests/canary/fails.py"
  status_is 1
  said '1 failed' 'AssertionError: on purpose'
}
