# `make check` runs what continuous integration runs, in the current environment.
.PHONY: check style figures

check:
	python -m pytest

style:
	ruff check subliminal_toy tests
	ruff format --check subliminal_toy tests
	basedpyright

# Figures, the tables of the README and of docs/claims.md, from the records.
figures:
	subliminal-toy report figures --readme README.md docs/claims.md
