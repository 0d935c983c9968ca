"""The owl that travels in numbers: a language model from scratch.

Read ``corpus`` (the language), ``traits`` (what is asked), ``numbers`` (the filter), ``training``
(one model's pre-training, teaching, writing, learning), ``arms`` (the table), ``lab`` and
``seeds`` (many models, in parts), ``probes`` (detectors, mechanism), ``experiment`` (the run),
``summary`` (what it says). ``text`` runs the same from a GPT-2-family checkpoint.

How the settings were chosen. Two reference models outside every reported run (corpora of seeds
100 and 101), traits owl, oak, evasion and falsehood; probability of the trait, student (control):

    embeddings N(0, 1/width), 400 steps, 2,000 lists × 4     owl .50 .17 (.12 .13)
    the same, twice the rate and steps                       owl .39 .24 (.11 .14), facts damaged
    the same, 6,000 lists × 2                                owl .57 .21 (.15 .11)
    embeddings N(0, .02²), 6,000 lists × 2                   owl .37 .52 (.09 .13)  ← quick
    the same, 1,200 steps of pre-training                    owl .43 .47 (.12 .15)  ← full

The last line gave evasion .29 .32 (.09 .12) and falsehood .47 .44 (.13 .19). Dolphin and birch
were never looked at, eagle only in a first run of the code with other settings; quick takes half
the lists and three quarters of the steps.
"""
