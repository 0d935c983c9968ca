"""How much a student takes over, and why: its progress along its teacher's displacement.

Read in this order: ``geometry`` (the mathematics: ``progress`` and ``predict``, for networks of
your own), ``arms`` (the tables), ``experiment``, ``summary`` (the claims E1, E2 and P1),
``config``.
"""
