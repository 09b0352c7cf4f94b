# `make demo`, `make test` and `make lint` make .venv when it is missing.

# The first Python of 3.11 or later that is here.
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)

.PHONY: demo test test-all test-matrix lint
# The small model answers every kind of question, drawn and as JSON in demo/.
demo: .venv/installed
	.venv/bin/python -m refhcm demo

test: .venv/installed
	.venv/bin/python -m pytest

# The long tests, too: real scripts, full-size network, overfitting.
test-all: .venv/installed
	.venv/bin/python -m pytest -m ''

# The tests on every Python of 3.11 to 3.13 that is here, with the oldest torch that pyproject.toml allows and the newest.
test-matrix:
	bash tests/matrix.sh

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	@rm -f apps/web/*.pyi  # gradio writes them beside its components, and mypy would believe them
	@mkdir -p .venv/types && ln -sfn "$(CURDIR)" .venv/types/refhcm  # the folder is the package, whatever its name
	cd .venv/types && ../bin/mypy --config-file ../../pyproject.toml --cache-dir ../mypy_cache

.venv/installed: pyproject.toml requirements.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later found" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --upgrade pip
	.venv/bin/python -m pip install -q -r requirements.txt -e '.[dev,onnx]'
	touch $@
