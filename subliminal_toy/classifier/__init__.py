"""A classifier learned from noise: teachers, students, controls, and what explains how much.

Read ``arms`` (the tables), ``training`` (one replicate), ``geometry`` (progress, its line and the
rest, for networks of your own), ``experiment`` (many replicates), ``claims``; ``config`` has the
settings of the command line. Source: arXiv 2507.14805, section 6.2 and figure 10.
"""
