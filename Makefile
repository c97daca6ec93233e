# `make demo` and `make test` on a machine with Python 3.11 and nothing else.

PYTHON ?= python3.11
JOBS ?= 2
VENV = .venv
RUN = $(VENV)/bin/python

.PHONY: demo test check format lock clean help
help:  ## Says what there is to make.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -ts:

demo: $(VENV)/installed  ## FedAvg, then FedAlt, on drawn handwriting.
	$(RUN) run_experiment.py --output_dir=out/demo

test: $(VENV)/installed  ## Every test.
	TF_CPP_MIN_LOG_LEVEL=3 $(RUN) -m pytest --numprocesses=$(JOBS) --dist=loadfile

check: $(VENV)/installed  ## Formatter and linter.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyink --quiet --check .

format: $(VENV)/installed  ## Formats the code.
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/pyink --quiet .

# A second call finds the stamp; one that was interrupted goes on.
$(VENV)/installed: requirements.txt requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "Expected $(PYTHON) on the PATH, \
	found none. TensorFlow Federated 0.87.0 needs Python 3.11: install it, or \
	name it with PYTHON=/path/to/python3.11." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	echo "Expected Python 3.11, found `$(PYTHON) --version`. Name one with \
	PYTHON=/path/to/python3.11." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --no-deps --require-hashes \
	  --requirement requirements.txt --requirement requirements-dev.txt
	touch $@

lock:  ## Resolves requirements.in and requirements-dev.in anew; needs uv.
	uv pip compile --quiet --python-version 3.11 --override overrides.in \
	  --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
	  --output-file requirements.txt requirements.in
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links \
	  --output-file requirements-dev.txt requirements-dev.in

clean:  ## Removes .venv and out.
	rm -rf $(VENV) out
