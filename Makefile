# make demo: train, export and serve a small model, from nothing.
# make test: lint, types, import directions and tests.
# make shipped: the model inside the package, made anew.
# make bench: every benchmark, then the tables and plots of benchmarks/README.md; some hours.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARTIFACTS ?= artifacts
OPTIMUM ?= $(VENV)-optimum
BENCH ?= $(ARTIFACTS)/benchmarks
PEERS = --optimum-python $(OPTIMUM)/bin/python --work $(BENCH)

.PHONY: demo test lint bench shipped format clean

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# Two stamps in one environment: the demo needs far less than the tests.
$(VENV)/.export: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[export]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.export

demo: $(VENV)/.export
	@printf '\n== 1. Train nano on messages of datasets/: labelled files become a checkpoint\n'
	$(BIN)/spam-train --config recipes/demo.toml --out $(ARTIFACTS)/checkpoint
	@printf '\n== 2. Export it: the checkpoint becomes one ONNX file, compared with PyTorch before it is left\n'
	$(BIN)/spam-export --checkpoint $(ARTIFACTS)/checkpoint --out $(ARTIFACTS)/spam.onnx --opset 17
	@printf '\n== 3. Classify the sample inbox with the file, without PyTorch\n'
	$(BIN)/spam-infer examples/inbox.txt --model $(ARTIFACTS)/spam.onnx

test: lint
	$(BIN)/python -m pytest -n logical --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The model inside the package, made anew: the same bytes on the same machine.
shipped: $(VENV)/.export
	$(BIN)/python datasets/held_out.py --write $(ARTIFACTS)/datasets
	$(BIN)/spam-train --config recipes/shipped.toml --device cpu --out $(ARTIFACTS)/shipped
	$(BIN)/spam-export --checkpoint $(ARTIFACTS)/shipped --out runtime/models/nano.onnx --precision int8 \
		--target onnxruntime
	cp $(ARTIFACTS)/shipped/README.md runtime/models/README.md

# Optimum needs another version of transformers than the tests; its PyTorch is the one of the tests.
$(OPTIMUM)/.installed: constraints.txt
	$(PYTHON) -m venv $(OPTIMUM)
	$(OPTIMUM)/bin/python -m pip install --quiet --disable-pip-version-check 'optimum-onnx[onnxruntime]' \
		$$(grep '^torch==' constraints.txt)
	@touch $@

bench: $(VENV)/.dev $(OPTIMUM)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	rm -rf $(BENCH)
	$(BIN)/python benchmarks/export_speed.py $(PEERS)
	$(BIN)/python benchmarks/latency.py $(PEERS) --threads 2
	$(BIN)/python benchmarks/latency.py $(PEERS) --threads 1 --rounds 2
	$(BIN)/python benchmarks/runtime_throughput.py $(PEERS) --threads 2
	$(BIN)/python benchmarks/runtime_throughput.py $(PEERS) --threads 1 --stride 4 --rounds 2
	$(BIN)/python benchmarks/scaling.py --full --large $(BENCH)/onnxruntime-int8-23.onnx $(BENCH)/onnxruntime-fp32-23.onnx
	$(BIN)/python benchmarks/footprint.py --optimum-python $(OPTIMUM)/bin/python
	$(BIN)/python benchmarks/runtime_footprint.py --large $(BENCH)/onnxruntime-int8-17.onnx
	$(BIN)/python benchmarks/runtime_soak.py
	$(BIN)/python benchmarks/runtime_fuzz.py all
	$(BIN)/python benchmarks/train_speed.py --only fp32 bf16 longest book all products
	$(BIN)/python benchmarks/train_memory.py
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/invariance.py $(PEERS)
	$(BIN)/python benchmarks/int8_ideas.py --checkpoint $(BENCH)/invariance-nano/checkpoint
	$(BIN)/python benchmarks/report.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
