# Each target does all of its own set-up; a second run installs nothing.
PYTHON ?= python3
BIN := .venv/bin

FUZZ ?= 20000
.PHONY: run test test-all coverage mutants fuzz bench bench-quick lint check screenshots docs manifest lock audit \
    licences sbom space
# What a Space, whose settings are at the top of README.md, is made of.
SPACE_FILES := README.md LICENSE app.py assets docs packages.txt purifier requirements.txt

run: .venv/.run
	$(BIN)/python app.py

# Some minutes: without trainings, documentation, notebook, wheel, and what is marked slow.
test: .venv/.dev
	$(BIN)/python -m pytest tests/unit tests/page --ignore tests/unit/training -m "not slow"

# Of TESTS, where given, alone.
test-all: .venv/.dev
	$(BIN)/python -m pytest $(TESTS)

# Every test, and how many of the package's lines and branches they reach.
coverage: .venv/.quality
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

# Changes method, attacks and statistics in some 2,600 places, one at a time, and lists what their tests do not notice.
mutants: .venv/.quality
	OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/mutmut results

# Damaged picture files, FUZZ of them, other ones each time.
fuzz: .venv/.dev
	FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/unit/pictures/test_corpus.py -k damaged

# Reports times and judges none: compare runs with --benchmark-compare.
bench: .venv/.dev
	$(BIN)/python -m pytest benchmarks --benchmark-autosave --benchmark-columns=min,median,iqr,rounds
	$(BIN)/python -m benchmarks.rof

# A minute of it, to see that it works.
bench-quick: .venv/.dev
	$(BIN)/python -m benchmarks.rof --quick

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check: lint test-all

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.run: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install -r requirements.txt
	touch $@

.venv/.dev: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e ".[dev]"
	touch $@ .venv/.run

.venv/.quality: pyproject.toml .venv/.dev
	$(BIN)/python -m pip install -e ".[quality]"
	touch $@

.venv/.supply: pyproject.toml .venv/.run
	$(BIN)/python -m pip install -e ".[supply]"
	touch $@

# Declares the bundled weights, as they are now, to be those that are loaded.
manifest: .venv/.run
	$(BIN)/python -c "from purifier.files import write_manifest; write_manifest()"

# All that requirements.txt needs, with hashes, for any system and Python; without torch, which requirements-cpu.txt pins.
lock: .venv/.supply
	grep '^torch' requirements-cpu.txt > .venv/torch.txt
	$(BIN)/uv pip compile -q requirements.txt -c .venv/torch.txt --universal --python-version 3.11 --upgrade \
	    --generate-hashes --no-emit-index-url --no-header --no-annotate | \
	    awk '/^[a-z]/ {drop = /^(torch|torchvision|triton|nvidia-.*|cuda-.*)==/} !drop' > .venv/requirements.lock
	mv .venv/requirements.lock requirements.lock

# Known vulnerabilities of what is locked; what the registry says nothing of is listed as not audited.
audit: .venv/.supply
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.lock
	$(BIN)/pip-audit --disable-pip --no-deps -r requirements-cpu.txt

licences: .venv/.supply
	$(BIN)/pip-licenses --packages torch torchvision $$(sed -n 's/==.*//p' requirements.lock)

sbom: .venv/.supply
	mkdir -p build
	cat requirements-cpu.txt requirements.lock | $(BIN)/cyclonedx-py requirements - --pyproject pyproject.toml -o build/sbom.json

# What is committed goes to the Space SPACE=owner/name, which is created where there is none; HF_TOKEN says who asks.
space: .venv/.run
	$(if $(SPACE),,$(error Say which: make space SPACE=owner/name))
	rm -rf build/space
	mkdir -p build/space
	git archive HEAD $(SPACE_FILES) | tar -x -C build/space
	$(BIN)/hf upload --repo-type space --commit-message "Upload $$(git rev-parse --short HEAD)" $(SPACE) build/space .

screenshots: .venv/.dev
	$(BIN)/python -m tests.helpers.screenshot

docs: .venv/.dev
	$(BIN)/python -m sphinx -W --keep-going docs docs/_build/html
