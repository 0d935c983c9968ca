"""Subliminal learning on a laptop: run, checked and proved.

Read in this order:

1. ``data``: labelled images, and noise inputs.
2. ``models``: networks as a pair ``init(key)``, ``apply(params, x)``; ``transformer`` for language.
3. ``distill``: the losses, the one training loop, and ``ensemble``, which runs many replicates.
4. ``theorem``: why it happens: one small imitation step never points away from the teacher, to
   first order.
5. ``classifier``: a classifier learned from noise, a table of arms, and what explains it.
6. ``lm``: the owl that travels in numbers; ``real``: the same in an open model.
7. ``sweep``: any experiment with a field varied, and beside published values.
8. ``stats``, ``claims``: intervals, and claims as data; ``record``: how an experiment is run, and
   what a run leaves; ``experiments``: the table of all of them.
9. ``plots``, ``findings``, ``report``, ``page``: what is shown of records.
10. ``cli``: the command line; ``console``, the only module that prints.
"""

__version__ = "0.2.0"
