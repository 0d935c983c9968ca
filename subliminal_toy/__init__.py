"""Subliminal learning on a laptop: run, checked and proved.

Read in this order:

1. ``data``: labelled images, and noise inputs.
2. ``models``: networks as a pair ``init(key)``, ``apply(params, x)``; ``transformer`` for language.
3. ``distill``: the losses, the one training loop, and ``ensemble``, which runs many replicates.
4. ``theorem``: why it happens: one small imitation step never points away from the teacher, to
   first order.
5. ``classifier``: a classifier learned from noise, a table of arms.
6. ``lm``: the owl that travels in numbers.
7. ``stats``, ``runs``, ``records``: intervals and claims, how an experiment is run, what it leaves;
   ``plots``, ``report``: what is shown of it.
8. ``cli``: the command line, with ``console`` the only module that prints and writes.
"""

__version__ = "0.2.0"
