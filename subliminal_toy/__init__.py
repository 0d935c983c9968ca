"""Subliminal learning on a laptop: run, checked and proved.

Read in this order:

1. ``data``: digits, and noise that means nothing.
2. ``models``: networks as a pair ``init(key)``, ``apply(params, x)``; ``transformer`` for language.
3. ``distill``: the losses, the one training loop and the one way to run many models.
4. ``theorem``: why it happens: one small imitation step never points away from the teacher.
5. ``mnist``: a classifier learned from noise.
6. ``lm``: the owl that travels in numbers.
7. ``stats``, ``results``: intervals, claims and records; ``plots``, ``report``: what is shown.
8. ``cli``: the command line, the only place that prints and writes.
"""

__version__ = "0.1.0"
