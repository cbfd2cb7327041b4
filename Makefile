# The book in two commands: `make book` and `make test`. `make help` lists the others.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: accept address autoencoders check colab contribute help setup book sweep test editions package pdf lab lint serve clean lock benchmark grown

PYTHON ?= python3
# The model under study: grown/NAME, a hub id such as openai-community/gpt2, or a local folder. Left empty, the book's own.
MODEL ?=
# Of a hub model, a branch, tag or commit; of any model, the dtype and the device. Left empty, the chapter decides.
REVISION ?=
DTYPE ?=
DEVICE ?=
CORES ?= 2
# Seconds that one notebook cell may take.
CELL_TIMEOUT ?= 3600
# For make sweep: some models or chapters instead of all, and a Snakemake profile instead of this machine. For make
# contribute: some chapters.
MODELS ?=
CHAPTERS ?=
PROFILE ?=
# For make contribute: the scores alone.
SCORE_ONLY ?=
# For make address. A branch may be a tag; with a release the chapters install its wheel, else what lies on the branch.
REPOSITORY ?=
BRANCH ?= main
RELEASE ?=
# For make package: the tag of the release, which has to be that of this version.
TAG ?=
PORT ?= 8000
# For make grown: a folder of books-train-*.jsonl.xz.
BOOKS ?=
# Where pip looks first for a torch without CUDA. Set it to nothing for the build with CUDA.
TORCH_WHEELS ?= https://download.pytorch.org/whl/cpu/torch/

BIN := .venv/bin
# Named after the content of the two files, so that a touched file installs nothing and a changed one does.
STAMP := .venv/installed-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
# What a reader sets reaches a command through the environment, where no quotation mark or bracket in it is the shell's.
export MODEL REVISION DTYPE DEVICE CORES CELL_TIMEOUT PROFILE REPOSITORY BRANCH RELEASE TAG BOOKS
BUILD = $(BIN)/python -m bookkit.build --model="$$MODEL" --revision="$$REVISION" --dtype="$$DTYPE" --device="$$DEVICE" --cores="$$CORES" --cell-timeout="$$CELL_TIMEOUT"
# A file's tests stay together, for the sake of what they set up; the files come in the order of tests/conftest.py.
TEST = $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

help:
	@echo "make book     run the notebooks and build the site  (MODEL=… for another model than the book's own)"
	@echo "make sweep    run the notebooks on every model of models.yml that this machine can take"
	@echo "make check    linter, types, and the quick tests that need no built book"
	@echo "make test     run all tests"
	@echo "make accept   accept what the chapters find now, and show it before and after"
	@echo "make contribute MODEL=…  measure a model for the page of results  (SCORE_ONLY=1 for its scores alone)"
	@echo "make autoencoders MODEL=…  train and store as many autoencoders for chapter 3 as the paper has, minutes"
	@echo "make editions write the student's and the teacher's notebooks to _build/editions"
	@echo "make pdf      print the built book as one PDF, with Chromium or Chrome"
	@echo "make lab      open the notebooks in JupyterLab"
	@echo "make grown    grow the models of chapter 6 whose record is missing, hours on 2 cores  (BOOKS=a folder of books to read as well)"
	@echo "make serve    show the built site on http://localhost:$(PORT)"
	@echo "make benchmark  compare a score, and the ablation of every head, with TransformerLens, in an environment of its own"
	@echo "make address REPOSITORY=owner/name  say where the book is published from: in _config.yml and in the chapters"
	@echo "make package  build what a release holds, a source and a wheel, and check both"
	@echo "make colab    play Colab: run each chapter alone in an environment like Colab's, from a build of the package"
	@echo "make clean    remove what was built, keep .venv"
	@echo "make lock     resolve requirements.lock anew"

setup: $(STAMP)

book: $(STAMP)
	$(BUILD)

# What is done is not done again. A model that is named runs or fails; of the others, what cannot be run is skipped.
sweep: $(STAMP)
	$(BIN)/python -m bookkit.night.sweep --models $(MODELS) --chapters $(CHAPTERS) --device="$$DEVICE" --profile="$$PROFILE" --cores="$$CORES" --cell-timeout="$$CELL_TIMEOUT"

# Ruff reads the code, mypy its types: both as pyproject.toml says.
lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# What to run before each commit.
check: lint
	$(TEST) --numprocesses "$$CORES" -m "not book and not published and not slow"

# The browser tests read the built book, so it is built first. What is up to date is not built again. One worker more than
# cores: some wait for a browser or a kernel.
test: $(STAMP)
	$(BUILD)
	$(TEST) --numprocesses "$$((CORES + 1))"

# Runs the chapters whose last record is not what was accepted, from three seeds each.
accept: $(STAMP)
	$(BIN)/python -m bookkit.build.accept --model="$$MODEL"

contribute: $(STAMP)
	$(BIN)/python -m bookkit.night.contribute "$$MODEL" $(if $(REVISION),--revision="$$REVISION") --cores="$$CORES" --cell-timeout="$$CELL_TIMEOUT" --device="$$DEVICE" $(if $(CHAPTERS),--chapters $(CHAPTERS)) $(if $(SCORE_ONLY),--score-only)

# As many of chapter 3's autoencoders as the paper has, which the chapter then shows beside its own: minutes a model.
autoencoders: $(STAMP)
	$(BIN)/python -m successor_heads.studies.mod10_features "$$MODEL"

address: $(STAMP)
	$(BIN)/python -m bookkit.editions.colab --repository="$$REPOSITORY" --branch="$$BRANCH" --release="$$RELEASE"

# The environment is not the book's: lib/bookkit/editions/colab-requirements.txt lists what Colab brings.
colab: $(STAMP)
	$(BIN)/python -m bookkit.editions.play --python "$(PYTHON)"

# Makes the records that are missing, and goes on where it stopped. To make one again, remove it first.
grown: $(STAMP)
	$(BUILD) --books="$$BOOKS" grown

pdf: book
	$(BIN)/python -m bookkit.site.pdf _build/site/_build/html

editions: $(STAMP)
	$(BIN)/python -m bookkit.editions _build/editions

# The kernel of this environment goes before others of the same name that a person has installed.
lab: $(STAMP)
	JUPYTER_PATH="$(CURDIR)/.venv/share/jupyter$${JUPYTER_PATH:+:$$JUPYTER_PATH}" $(BIN)/jupyter lab notebooks

serve: book
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/site/_build/html

clean:
	rm -rf _build .snakemake

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { echo "The book needs Python 3.11, 3.12 or 3.13: name one, as in make PYTHON=python3.12 $(MAKECMDGOALS)." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@# First torch alone, which is the only package to look for on PyTorch's page; then what it needs, the lock and the book.
	$(BIN)/python -m pip install --quiet --no-deps --retries 1 $(if $(TORCH_WHEELS),--find-links $(TORCH_WHEELS)) --constraint requirements.lock torch
	$(BIN)/python -m pip install --quiet --constraint requirements.lock torch
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	rm -f .venv/installed-*
	touch $@

# The peer has needs of its own, which stay out of the book's environment; what both need has the same version.
PEER := _build/benchmark/venv
benchmark: $(PEER)/installed
	$(PEER)/bin/python benchmarks/score_vs_transformerlens.py
	$(PEER)/bin/python benchmarks/ablation_vs_transformerlens.py

$(PEER)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv --clear $(PEER)
	$(PEER)/bin/python -m pip install --quiet --no-deps --retries 1 $(if $(TORCH_WHEELS),--find-links $(TORCH_WHEELS)) --constraint requirements.lock torch
	$(PEER)/bin/python -m pip install --quiet --constraint requirements.lock torch transformer-lens==4.3.0 nnsight gguf platformdirs pandas psutil scipy setuptools
	$(PEER)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# What builds and checks a package stays out of the book's environment, and needs nothing of it.
PACKAGER := _build/package/venv
package: $(PACKAGER)/installed
	PYTHONPATH=lib $(PACKAGER)/bin/python -m bookkit.editions.package _build/package/dist $(if $(TAG),--tag="$$TAG")

$(PACKAGER)/installed: Makefile
	$(PYTHON) -m venv --clear $(PACKAGER)
	$(PACKAGER)/bin/python -m pip install --quiet build==1.6.1 twine==7.0.0
	touch $@

# CUDA packages stay out: they exist on Linux only, and pip adds them where torch asks for them.
lock:
	$(PYTHON) -m venv --clear _build/resolver
	_build/resolver/bin/python -m pip install --quiet uv
	_build/resolver/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header --output-file _build/resolver/requirements.txt pyproject.toml
	grep -Ev '^(nvidia-|cuda-|triton=)' _build/resolver/requirements.txt > requirements.lock
