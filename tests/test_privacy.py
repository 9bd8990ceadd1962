"""Texts are for the server that was asked for, whatever the environment says; the rest is in test_end_to_end.py."""

from __future__ import annotations

import os
import subprocess

import pytest
from listener import listener
from test_evaluation import PY, _environment, right, server, sweep  # noqa: F401 - fixtures

AS_IT_IS = """import sys, eval
from fewshot_sft.serving import client
client.FOREIGN = ("-",)
sys.exit(eval.main(sys.argv[1:]))"""


@pytest.mark.parametrize("cleaned", [True, False])
def test_no_tracer_and_no_other_server_hears_of_an_evaluation(sweep, server, cleaned):  # noqa: F811 - fixtures
    """In the environment as it is they do: this shows that the listener would hear it."""
    settings, interpreter, script, *arguments = sweep.command(server)[1:]
    program = [script] if cleaned else ["-c", AS_IT_IS]
    with listener() as (url, heard):
        addresses = "LANGSMITH_ENDPOINT LANGCHAIN_ENDPOINT OPENAI_BASE_URL OPENAI_API_BASE OPENAI_PROXY"
        addresses += " HTTP_PROXY ALL_PROXY http_proxy all_proxy"
        secrets = "LANGSMITH_API_KEY LANGCHAIN_API_KEY OPENAI_API_KEY OPENAI_ORG_ID"
        environment = os.environ | dict.fromkeys(addresses.split(), url) | dict.fromkeys(secrets.split(), "foreign")
        environment |= {"LANGSMITH_TRACING": "true", "LANGCHAIN_TRACING_V2": "true"}
        environment |= {"SSL_CERT_FILE": "/nowhere", "PYTHONPATH": str(PY)}
        command = ["env", settings, interpreter, *program, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert server.completions == 7  # one to see whether it answers
    assert (heard == []) is cleaned
    assert any("foreign" in str(request.headers) for request in server.requests) is not cleaned
