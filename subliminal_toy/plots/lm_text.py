"""The language-model path from a checkpoint: its arms."""

from subliminal_toy.plots.lm import arms

FIGURES = {"arms": arms}
