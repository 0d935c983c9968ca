"""The one-step theorem in numbers, and what follows from it.

Read in this order: ``one_step`` and ``many_steps`` (the mathematics), ``check`` (``check_one_step``
for a network of your own, and the measurement behind it), ``problems`` (what it is tried on),
``experiment`` (all problems, and the names of what is measured), ``claims`` (T1 to T5, and the
numbers that are shown), ``config``.
"""
