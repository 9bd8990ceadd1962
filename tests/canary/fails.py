"""Fails on purpose: tests/test_script.bats proves with it that a failing test is seen."""


def test_fails() -> None:
    raise AssertionError("on purpose")
