"""Shared modules of few-shot-sft: one subject a file; the entry points are the scripts in ``py/``."""
