# Two commands on a fresh machine: `make demo` and `make test`. Each sets up .venv first.
#   make demo        a study goes into a PACS, a denoised series comes back; ends with a table and a picture
#   make test        lint, types, layers, wheel, tests
#   make serve       leave the node running with dae-pacs.toml (made from the sample where there is none)
#   make benchmarks  measure everything (hours: models are trained), render benchmarks/RESULTS.md
#   make lint        ruff, mypy, import-linter
#   make docs        the documentation as a site: out/site/index.html
#   make format      let ruff put the code into its form
#   make clean       remove what was built and cached; keeps .venv and the spool

BIN := .venv/bin
SET_UP := .venv/.set-up

.PHONY: demo test serve benchmarks lint docs format wheel clean
.DEFAULT_GOAL := demo

demo: $(SET_UP)
	$(BIN)/dae-pacs demo --output demo-output

test: lint wheel
	$(BIN)/python -m pytest

serve: $(SET_UP) dae-pacs.toml
	$(BIN)/dae-pacs serve --config dae-pacs.toml

benchmarks: $(SET_UP)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/node.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/hot_spots.py
	$(BIN)/python benchmarks/noise.py
	$(BIN)/python benchmarks/denoising.py
	$(BIN)/python benchmarks/ct_noise.py
	$(BIN)/python benchmarks/receive.py
	$(BIN)/python benchmarks/echo.py
	$(BIN)/python benchmarks/console.py
	$(BIN)/python benchmarks/ledger.py
	$(BIN)/python benchmarks/faults.py
	$(BIN)/python benchmarks/judges.py
	$(BIN)/python benchmarks/multiframe.py
	$(BIN)/python benchmarks/roundtrip.py
	$(BIN)/python benchmarks/look.py
	$(BIN)/python benchmarks/cluster.py
	$(BIN)/python benchmarks/results.py

lint: $(SET_UP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(SET_UP)
	rm -rf out/site
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html -c docs -d out/doctrees . out/site
	@echo "out/site/index.html"

format: $(SET_UP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# W002 is about duplicates: each model bundle carries the licence, as those of MONAI's model zoo do.
wheel: $(SET_UP)
	rm -rf out/dist
	$(BIN)/python -m build --wheel --no-isolation --outdir out/dist
	$(BIN)/check-wheel-contents --ignore W002 out/dist/*.whl

clean:
	rm -rf out build dist demo-output runs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find dae_pacs tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The site's own file: made once, never overwritten.
dae-pacs.toml:
	cp dae_pacs/config/sample.toml $@

$(SET_UP): pyproject.toml constraints.txt tools/set-up.sh tools/install-debian.sh
	tools/set-up.sh
	touch $@
