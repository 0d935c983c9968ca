"""``python -m subliminal_toy``."""

from subliminal_toy.cli import main

main()
