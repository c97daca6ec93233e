# `make demo` and `make test` on a machine with Python 3.11 and nothing else.

PYTHON ?= python3.11
JOBS ?= 2
VENV = .venv
KERAS3 = .venv-keras3
# Ray reads its environment once in a process, so each of these has its own. The
# longest come first, so that all are done at the same time.
CLUSTER_TESTS = tests/training/remote_parts_test.py \
  tests/project/benchmarks_test.py tests/runtime/cluster_test.py \
  tests/runtime/ray_client_test.py tests/runtime/cluster_jobs_test.py
FAULT_TESTS = tests/runtime/cluster_network_test.py \
  tests/runtime/node_faults_test.py
AUDIT = .venv-audit
PEERS = fedjax pfl
INSTALL = $(RUN) -m pip install --quiet --no-deps --require-hashes
# These two have no wheels. They are built with the tools of the lock; nothing
# else runs programs of packages while it is installed.
SOURCES = promise,sqlalchemy
RUN = $(VENV)/bin/python

.PHONY: audit demo test test-faults bazel-test check docs format build-files lock peers sbom clean help
help:  ## Lists the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -ts:

demo: $(VENV)/installed  ## Runs FedAvg, then FedAlt, on synthetic handwriting.
	$(RUN) run_experiment.py --output_dir=out/demo

test: $(VENV)/installed $(KERAS3)/installed  ## Runs the tests but those that break clusters.
	TF_CPP_MIN_LOG_LEVEL=3 $(RUN) -m pytest --numprocesses=$(JOBS) \
	  --dist=loadfile --no-loadscope-reorder \
	  $(addprefix --ignore=,$(CLUSTER_TESTS) $(FAULT_TESTS))
	printf '%s\n' $(CLUSTER_TESTS) | TF_CPP_MIN_LOG_LEVEL=3 \
	  xargs -n 1 -P $(JOBS) $(RUN) -m pytest

test-faults: $(VENV)/installed  ## Runs the tests that break clusters; minutes.
	for file in $(FAULT_TESTS); do \
	  TF_CPP_MIN_LOG_LEVEL=3 $(RUN) -m pytest $$file || exit 1; done

bazel-test: $(VENV)/installed $(KERAS3)/installed  ## Runs every test with Bazel, installing it if needed.
	@command -v bazel >/dev/null || { apt-get update && apt-get install --yes \
	  bazel-bootstrap; } || { echo "Expected bazel on the PATH, found none, and \
	apt-get could not install it. Install Debian's bazel-bootstrap as root, or \
	Bazelisk under the name bazel." >&2; exit 1; }
	bazel test --local_test_jobs=$(JOBS) //...

check: $(VENV)/installed  ## Checks format, lint, directions of imports and types.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyink --quiet --check .
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/mypy

format: $(VENV)/installed  ## Formats the code.
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/pyink --quiet .

docs: $(VENV)/installed  ## Builds the site of pages and API in build/site.
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict --clean

build-files: $(VENV)/installed  ## Writes the BUILD files from the imports.
	$(RUN) -m tools.update_build_files

# Nothing happens once the stamp exists; an interrupted installation continues.
$(VENV)/installed: requirements.txt requirements-dev.txt requirements-build.txt
	@command -v $(PYTHON) >/dev/null || { echo "Expected $(PYTHON) on the PATH, \
	found none. TensorFlow Federated 0.87.0 needs Python 3.11: install it, or \
	name it with PYTHON=/path/to/python3.11." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	echo "Expected Python 3.11, found `$(PYTHON) --version`. Name one with \
	PYTHON=/path/to/python3.11." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --only-binary=:all: --requirement requirements-build.txt
	$(INSTALL) --only-binary=:all: --no-binary=$(SOURCES) --no-build-isolation \
	  --requirement requirements.txt --requirement requirements-dev.txt
	touch $@

# TFF needs Keras 2; tests load exports with Keras 3 in an environment of its own.
$(KERAS3)/installed: requirements-keras3.txt $(VENV)/installed
	$(PYTHON) -m venv $(KERAS3)
	$(KERAS3)/bin/python -m pip install --quiet --no-deps --require-hashes \
	  --only-binary=:all: --requirement requirements-keras3.txt
	touch $@

peers: $(VENV)/installed $(PEERS:%=.venv-%/installed)  ## Times rounds of other libraries too; downloads 3 GB.
	$(RUN) -m benchmarks.peers

$(PEERS:%=.venv-%/installed): .venv-%/installed: benchmarks/peers/%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --no-deps --require-hashes \
	  --only-binary=:all: --requirement $<
	touch $@

sbom: build/sbom.json  ## Lists all packages of the lock in build/sbom.json (CycloneDX).

build/sbom.json: requirements.txt requirements-dev.txt $(AUDIT)/installed
	mkdir -p build
	cat requirements.txt requirements-dev.txt | $(AUDIT)/bin/cyclonedx-py \
	  requirements --pyproject pyproject.toml --output-reproducible \
	  --output-file $@ -

audit: $(AUDIT)/installed  ## Looks the lock up in PyPI's advisories; README explains findings.
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes \
	  --progress-spinner=off --requirement requirements.txt

# What the two commands above need, in an environment of its own.
$(AUDIT)/installed: requirements-audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --no-deps --require-hashes \
	  --only-binary=:all: --requirement requirements-audit.txt
	touch $@

lock:  ## Resolves pyproject.toml and requirements-dev.in again; needs uv.
	uv pip compile --quiet --python-version 3.11 --override overrides.in \
	  --all-extras --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links --output-file requirements.txt pyproject.toml
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links \
	  --output-file requirements-dev.txt requirements-dev.in
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links \
	  --output-file requirements-keras3.txt requirements-keras3.in
	for name in audit build; do \
	  uv pip compile --quiet --python-version 3.11 --generate-hashes \
	    --no-header --no-emit-index-url --no-emit-find-links --output-file \
	    requirements-$$name.txt requirements-$$name.in || exit 1; done
	for name in $(PEERS); do \
	  uv pip compile --quiet --python-version 3.11 --generate-hashes \
	    --no-header --no-emit-index-url --no-emit-find-links --output-file \
	    benchmarks/peers/$$name.txt benchmarks/peers/$$name.in || exit 1; done

clean:  ## Removes everything that make and runs created.
	command -v bazel >/dev/null && bazel clean --expunge || true
	rm -rf $(VENV) $(KERAS3) $(AUDIT) $(PEERS:%=.venv-%) out build dist *.egg-info .mypy_cache .ruff_cache bazel-*
	find . -name __pycache__ -prune -exec rm -rf {} +
