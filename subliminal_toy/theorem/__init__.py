"""The one-step theorem in numbers, what follows from it, and where it ends.

Read in this order: ``one_step``, ``many_steps`` and ``sampled`` (the mathematics), ``check``
(``check_one_step`` for a network of your own), ``problems`` (networks, losses, inputs and traits to
try it on), ``bench`` and ``further`` (what is measured of one problem), ``outside`` (what must be
zero, counterexamples, full distillations), ``experiment`` and ``result`` (all problems, and the
names of what is measured), ``tables``, ``claims`` and ``summary`` (what the numbers come to, and
the claims T1 to T5), ``config``.
"""
