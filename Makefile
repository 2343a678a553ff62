# `make demo` and `make test` do everything on a fresh machine; each creates the virtual environment it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The adapters' tests need the frameworks, which nothing else does: an environment of their own.
ADAPTERS := .venv-adapters
PIP_ADAPTERS := $(ADAPTERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -c constraints-adapters.txt

# So do those of Open3D, 900 MB, which `robosac view` draws with and which is a second opinion on rays and files.
OPEN3D := .venv-open3d

# And the fleet through Flower, which asks for older typer and rich than ours.
FLEET := .venv-fleet

# The site: MkDocs reads docs/ and the docstrings, and imports nothing of ours.
DOCS := .venv-docs

.PHONY: demo test test-ray test-adapters test-open3d test-fleet check format docs walk mutants clean
demo: $(VENV)/.installed
	$(BIN)/robosac demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2

# Ray is 75 MB more, in the same environment; without it its tests are skipped
test-ray: $(VENV)/.installed-ray
	$(BIN)/python -m pytest tests/test_ray.py

# OPENCOOD=, COPERCEPTION=, REFERENCE=, COALIGN=, HEAL= and V2XR= name checkouts to test against besides the installed
# packages
test-adapters: $(ADAPTERS)/.installed
	ROBOSAC_OPENCOOD="$(OPENCOOD)" ROBOSAC_COPERCEPTION="$(COPERCEPTION)" ROBOSAC_REFERENCE="$(REFERENCE)" \
		ROBOSAC_COALIGN="$(COALIGN)" ROBOSAC_HEAL="$(HEAL)" ROBOSAC_V2XR="$(V2XR)" \
		$(ADAPTERS)/bin/python -m pytest -n 2 tests/adapters

test-open3d: $(OPEN3D)/.installed
	$(OPEN3D)/bin/python -m pytest tests/open3d

test-fleet: $(FLEET)/.installed
	RAY_DISABLE_DASHBOARD=1 FLWR_TELEMETRY_ENABLED=0 $(FLEET)/bin/python -m pytest tests/fleet/test_flower.py tests/fleet/test_peft.py tests/fleet/test_hub.py

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# site/index.html; warnings are errors. Every page is opened in Chromium where there is one
docs: $(DOCS)/.installed $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.tutorials
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet
	$(BIN)/python -m pytest tests/viz/test_site_browser.py

# what the README and every page say, typed in new environments: as a wheel, and in editable form
walk: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.walk --fresh wheel --patience 10
	$(BIN)/python -m benchmarks.walk --fresh editable --patience 10 --pages README.md docs/first_hour.md docs/your_data.md

# ONLY='robosac.gate.*' tests the mutants of one module
mutants: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.mutation $(if $(ONLY),'$(ONLY)')

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and exactly as constrained, so that nothing pulls another build of it
$(VENV)/.installed: setup.py constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

# SUMO last and if it can be had: not every system has a wheel of it, and without it its tests are skipped
$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,dev,rosbag]"
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[sumo]"
	touch $@

$(VENV)/.installed-ray: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[ray]"
	touch $@

# without their declared requirements: most of these no adapter needs, and some cannot be installed any more
$(ADAPTERS)/.installed: setup.py constraints.txt constraints-adapters.txt
	$(PYTHON) -m venv $(ADAPTERS)
	$(PIP_ADAPTERS) "$$(grep '^torch==' constraints.txt)" setuptools
	$(PIP_ADAPTERS) -e ".[test]" spconv einops
	$(PIP_ADAPTERS) --no-deps --no-build-isolation opencoodx coperception
	touch $@

$(DOCS)/.installed: setup.py constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt mkdocs-material "mkdocstrings[python]"
	touch $@

$(OPEN3D)/.installed: setup.py constraints.txt
	$(PYTHON) -m venv $(OPEN3D)
	$(OPEN3D)/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(OPEN3D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,open3d]"
	touch $@

# peft without its declared requirements, which would pull another build of torch
$(FLEET)/.installed: setup.py constraints-fleet.txt
	$(PYTHON) -m venv $(FLEET)
	$(FLEET)/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints-fleet.txt)"
	$(FLEET)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-fleet.txt -e ".[test,fleet]" transformers
	$(FLEET)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints-fleet.txt peft accelerate
	touch $@

clean:
	rm -rf $(VENV) docs/tutorials $(ADAPTERS) $(OPEN3D) $(FLEET) $(DOCS) site runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache mutants
