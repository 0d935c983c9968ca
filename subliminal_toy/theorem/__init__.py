"""The one-step theorem in numbers, and where it ends.

Read in this order: ``one_step`` (the mathematics, and ``check_one_step`` for a network of your
own), ``problems`` (networks, losses, inputs and traits to try it on), ``experiment`` (what is
measured), ``outside`` (what the theorem does not cover, and what must be zero), ``summary`` (what
the numbers come to, and the claims T1 and T2), ``config``.
"""
