# Everything works from a bare checkout: the environment is built when it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: attack alarms paper-check wheels bench-gpu setup demo test test-slow test-browser lint bench bench-peers bench-general bench-growth bench-processor bench-start bench-widths bench-measuring bench-memory clean test-crash test-cluster docs examples test-frameworks test-integrations bench-tracker extras test-lowest

setup: .venv/ready

.venv/ready: pyproject.toml experiments/pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . --editable experiments
	touch $@

demo: setup
	rm -rf demo
	$(BIN)/birthmark reproduce --scale demo --store demo

test: lint
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-slow: setup
	HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest -m "slow or drawn" --timeout 3600

# in Debian's Chromium: apt-get install chromium; another one by CHROMIUM=path
test-browser: setup
	$(BIN)/python -m pytest -m browser --timeout 600

# sweeps that are killed 200 times: KILLS=20 make test-crash
test-crash: setup
	$(BIN)/python -m pytest -m crash --timeout 3600

# a real Ray cluster of three nodes, on this machine
test-cluster: setup .venv-ray/ready
	.venv-ray/bin/python -m pytest -m cluster --timeout 1800 -W default

.venv-ray/ready: requirements.lock
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock 'ray>=2.52'
	.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

# more options in BENCH: make bench BENCH="--widths 10 100 --growth --out bench.md"
bench: setup
	$(BIN)/python benchmarks/bench_training.py $(BENCH)

bench-peers: setup .venv-peers/ready
	$(BIN)/python benchmarks/bench_training.py --peers all --check $(BENCH)

# widths 8 to 1096, none of which may be slower than its neighbours by a fifth
bench-widths: setup
	$(BIN)/python benchmarks/bench_widths.py $(BENCH)

# processor time until the command line answers
bench-start: setup
	$(BIN)/python benchmarks/bench_start.py

# memory and time of a run against replicas, width, depth, data and recorded epochs
bench-growth: setup
	$(BIN)/python benchmarks/bench_growth.py --out bench-growth.png

# stacks on the general path beside a plain loop
bench-general: setup
	$(BIN)/python benchmarks/bench_general.py $(BENCH)

# all that is said of a processor, some minutes on a quiet machine: until the command
# line answers, the limits of a step, a step beside plain torch, every width
bench-processor: setup
	-$(BIN)/python benchmarks/bench_start.py
	$(BIN)/python benchmarks/bench_limits.py
	$(BIN)/python benchmarks/bench_training.py --rounds 3 --steps 32 $(BENCH)
	$(BIN)/python benchmarks/bench_widths.py --rounds 3

bench-measuring: setup
	$(BIN)/python benchmarks/bench_measuring.py $(BENCH)

# every test that is skipped where a framework is missing, in an environment that has all
# of them, on each backend of Keras; there nothing may be skipped but for hardware
ON_KERAS := tests/test_checkup_keras.py tests/test_initializations_frameworks.py
WITH_OTHERS := tests/test_integrations.py tests/test_network.py tests/test_figures_files.py experiments/src/birthmark_experiments/sharpness/test_sharpness.py
IN_FRAMEWORKS := $(patsubst examples/%.py,%,$(wildcard examples/frameworks/*.py))
FRAMEWORKS := BIRTHMARK_SKIPS=fail TF_CPP_MIN_LOG_LEVEL=3 .venv-frameworks/bin/python -m pytest -m 'not slow' --timeout 600
test-frameworks: .venv-frameworks/ready
	KERAS_BACKEND=torch $(FRAMEWORKS) $(ON_KERAS)
	KERAS_BACKEND=jax $(FRAMEWORKS) $(ON_KERAS)
	KERAS_BACKEND=tensorflow $(FRAMEWORKS) $(ON_KERAS)
	$(FRAMEWORKS) $(WITH_OTHERS)
	.venv-frameworks/bin/python tools/run_examples.py $(IN_FRAMEWORKS)

# the tracker in real frameworks and logging services, and its examples there
test-integrations: .venv-frameworks/ready
	$(FRAMEWORKS) tests/test_integrations.py
	.venv-frameworks/bin/python tools/run_examples.py $(IN_FRAMEWORKS)

.venv-frameworks/ready: pyproject.toml requirements.lock requirements-frameworks.txt
	$(PYTHON) -m venv .venv-frameworks
	grep -vE '^(certifi|pillow)==' requirements.lock > .venv-frameworks/constraints.txt
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-frameworks.txt --constraint .venv-frameworks/constraints.txt
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check --no-deps hessian-eigenthings==1.0.0a5
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# how often the alarm for jumps is false, and how early it is where training collapses
alarms: setup
	$(BIN)/python benchmarks/measure_alarms.py

# ten minutes of damaged files, settings and kills; 1 if any makes a wrong number
attack: setup
	BIRTHMARK_DATA= $(BIN)/python tools/attack.py --seconds 600

# without a GPU it says so
bench-gpu: setup
	$(BIN)/python benchmarks/bench_gpu.py --out bench-gpu.md

# the tracker beside other watchers of training, and its distances beside theirs
bench-tracker: .venv-watchers/ready
	.venv-watchers/bin/python -W ignore benchmarks/bench_tracker_peers.py
	.venv-watchers/bin/python -m pytest -q tests/test_tracking_peers.py

.venv-watchers/ready: benchmarks/requirements-tracker-peers.txt requirements.lock
	$(PYTHON) -m venv .venv-watchers
	.venv-watchers/bin/python -m pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements-tracker-peers.txt --constraint requirements.lock
	.venv-watchers/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	.venv-watchers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.venv-peers/ready: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# the check-up over families of timm, torchvision, transformers and diffusers (seed 0;
# more by SEEDS="0 1 2"), and over planted defects; then the tables of the docs
SEEDS ?= 0
.PHONY: check-zoo
check-zoo: .venv-zoo/ready
	.venv-zoo/bin/python benchmarks/zoo/run.py --seeds $(SEEDS) --out benchmarks/zoo/results/zoo.jsonl
	.venv-zoo/bin/python benchmarks/zoo/plant.py --out benchmarks/zoo/results/planted.jsonl
	.venv-zoo/bin/python benchmarks/zoo/tables.py

.venv-zoo/ready: benchmarks/zoo/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-zoo
	.venv-zoo/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< --editable .
	touch $@

bench-memory: setup
	$(BIN)/python benchmarks/bench_memory.py

# both distributions, tried in a fresh environment without torch
wheels: setup
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist . ./experiments
	$(BIN)/python tools/try_wheels.py dist

# the library's wheel with each extra, in a fresh environment for each
extras: wheels
	$(BIN)/python tools/try_extras.py dist

# the tests with the lowest versions that are claimed, of all but torch
test-lowest: .venv-lowest/ready
	.venv-lowest/bin/python -m pytest --numprocesses auto --dist loadfile

.venv-lowest/ready: pyproject.toml requirements.lock tools/lowest_versions.py
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) tools/lowest_versions.py > .venv-lowest/constraints.txt
	grep -E '^(editables|h5py|hatchling|hypothesis|playwright|pytest.*|torch)==' requirements.lock > .venv-lowest/tools.txt
	echo import-linter >> .venv-lowest/tools.txt  # its newest wants a newer rich
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --requirement .venv-lowest/constraints.txt --requirement .venv-lowest/tools.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . --editable experiments
	touch $@

# every number on the pages about the paper and the experiments, from shipped records
paper-check: setup
	$(BIN)/python -m birthmark_experiments.pages --check

# the site, into build/site/html: a link that leads nowhere is an error
docs: .venv-docs/ready
	.venv-docs/bin/python tools/site/build.py

.venv-docs/ready: pyproject.toml requirements.lock requirements-docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-docs.txt
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# every script of examples/ that needs no framework, each in a folder of its own
examples: setup
	$(BIN)/python tools/run_examples.py

clean:
	rm -rf .venv .venv-docs .venv-frameworks .venv-peers .venv-watchers .venv-ray .venv-lowest demo build dist
