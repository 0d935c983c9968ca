# `make check` runs what continuous integration runs, in the current environment.
.PHONY: check style figures

check:
	python -m pytest

style:
	ruff check subliminal_toy tests
	ruff format --check subliminal_toy tests
	basedpyright

# Figures, the pages, and the blocks of README and documents, from the records.
figures:
	subliminal-toy report figures --out figures --readme README.md docs/claims.md docs/findings.md docs/published.md
	cp figures/index.html figures/evidence.html docs/
