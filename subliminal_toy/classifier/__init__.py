"""A classifier learned from noise: teachers, students, cross-model students.

Read ``arms`` (the table), ``training`` (one replicate), ``experiment`` (many of them),
``summary`` (claims). ``config`` has the settings of the command line.
Source: arXiv 2507.14805, section 6.2 and figure 10.
"""
