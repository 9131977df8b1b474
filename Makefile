# One environment, two depths: what `moola run` needs, and on top of it what the tests need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# uv installs the pins in a fraction of pip's time, from where pip is told to look; where it fails, pip does it.
pip_setting = $${PIP_$(1):-$$($(PIP) config get global.$(2) 2>/dev/null)}
define install
@test -x $(BIN)/uv || $(PIP) install -c requirements.txt uv 2>/dev/null || true
@UV_FIND_LINKS="$(call pip_setting,FIND_LINKS,find-links)" \
	UV_DEFAULT_INDEX="$(call pip_setting,INDEX_URL,index-url)" \
	$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python -c requirements.txt $(1) || \
	{ echo "uv could not install them: pip does, which takes longer"; $(PIP) install -c requirements.txt $(1); }
endef

# Python keeps the bytecode of what it imports: without it, each process compiles Dagster, MLflow and torch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test docs audit install clean

help:
	@echo "make run      train and report, on registered bars if there are any, else on simulated ones"
	@echo "make test     lint, types, layers and the quick tests"
	@echo "make docs     build the documentation into build/site, every link checked"
	@echo "make audit    look up the pinned packages for known vulnerabilities (needs the internet)"
	@echo "make install  make .venv only (pinned by requirements.txt)"
	@echo "make clean    remove .venv and caches; data and runs stay"

run: $(VENV)/.run
	$(BIN)/moola run
	@echo "moola     is $(BIN)/moola; source $(BIN)/activate lets you type the name alone"

test: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict -f docs/mkdocs.yml
	@echo "open build/site/index.html"

audit: $(VENV)/.audit
	$(BIN)/python -m moola_pipeline_tests.audit

install: $(VENV)/.run

$(VENV)/.run: pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python must be >= 3.11, got $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV)"
	$(call install,-e .)
	@echo "Compiling what a run needs"
	@$(BIN)/python -c "import moola_pipeline.definitions, mlflow.pyfunc, mlflow.store.tracking.sqlalchemy_store; \
		import moola_pipeline.evaluation.all_scores, moola_pipeline.report.html" & \
		$(BIN)/python -m moola_pipeline.selftest.compile_ahead; wait
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "Installing what the tests need"
	$(call install,-e '.[test]')
	@$(BIN)/python -m moola_pipeline_tests.labeler.page_types $(VENV) || echo "no npm packages: the check of the page's types will skip"
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	$(call install,-e '.[docs]')
	@touch $@

$(VENV)/.audit: $(VENV)/.run
	$(call install,-e '.[audit]')
	@touch $@

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache .hypothesis *.egg-info
