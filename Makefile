# The same commands as CI's. Each installs what it needs into .venv on its first run.
SHELL := bash
SCRIPTS := bin/*.sh bench/*.sh settings.sh .ci/run
TESTS := tests/*.bats tests/helpers/*.bash tests/stubs/python tests/stubs/llamafactory-cli tests/stubs/vllm
LIBRARY := bin/lib/*.bash bin/profiles/*.bash bench/lib.bash
UV ?= uv

.PHONY: lint fmt test docs lock

lint:
	bash bin/setup.sh dev
	.venv/bin/shellcheck -x $(SCRIPTS) $(LIBRARY) $(TESTS)
	.venv/bin/shfmt -i 2 -d $(SCRIPTS) $(LIBRARY) tests
	.venv/bin/ruff check py tests bench
	.venv/bin/ruff format --check py tests bench
	.venv/bin/mypy

fmt:
	bash bin/setup.sh dev
	.venv/bin/shfmt -i 2 -w $(SCRIPTS) $(LIBRARY) tests
	.venv/bin/ruff check --fix py tests bench
	.venv/bin/ruff format py tests bench

test:
	bash bin/test.sh

# docs/settings.md, from bin/settings.table.
docs:
	python3 tests/helpers/settings_docs.py --write

# One lock for CPU and GPU hosts, Python 3.11 and 3.12: every package with its hashes and no index, so that a mirror
# serves as well. What is locked already stays; to upgrade, delete a line first.
lock:
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes --all-extras --group dev \
		--no-header --no-annotate --quiet pyproject.toml -o requirements.lock
