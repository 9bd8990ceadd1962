#!/usr/bin/env bats
# Fails on purpose: tests/test_script.bats proves with it that a failing test is seen.

@test "fails" {
  false
}
