"""The owl that travels in numbers: a language model from scratch.

Read ``corpus`` (the language), ``traits`` (what is asked), ``numbers`` (the filter), ``training``
(one model's pre-training, teaching, writing, learning), ``arms`` (the table), ``lab`` and
``seeds`` (many models, in parts), ``probes`` (detectors, mechanism), ``experiment`` (the run),
``summary`` (what it says). ``text`` runs the same from a GPT-2-family checkpoint.

How the settings were chosen: on reference models outside every reported run. First two (corpora of
seeds 100 and 101), probability of the trait in student (control):

    embeddings N(0, 1/width), 400 steps, 2,000 lists × 4     owl .50 .17 (.12 .13)
    the same, twice the rate and steps                       owl .39 .24 (.11 .14), facts damaged
    the same, 6,000 lists × 2                                owl .57 .21 (.15 .11)
    embeddings N(0, .02²), 6,000 lists × 2                   owl .37 .52 (.09 .13)
    the same, 1,200 steps of pre-training                    owl .43 .47 (.12 .15)

The last line gave evasion .29 .32 (.09 .12) and falsehood .47 .44 (.13 .19). With its settings a
full run of seeds 0 to 4 gave favourites +.25 and evasion only +.15. Then four (seeds 100 to 103 of
key 0), student − control, mean of the four:

    full preset, otherwise as said                  owl   oak   evasion  falsehood
    head N(0, 1/width), the line above              .28   .28   .22      .23
      600 steps of students                         .28   .33   .26      .26
      the same, half the rate                       .29   .32   .24      .26
      30 steps of teachers                          .27   .28   .22      .22
      200 steps of teachers                         .26   .28   .21      .22
      600 steps of pre-training                     .32   .27   .28      .26
      all kernels N(0, .02²)                        .02   .02   .15      .19
      all kernels twice as large                    .36         .34
      the same, 600 steps of pre-training           .30         .35
      all kernels three times as large              .24         .27
      all kernels but the head twice as large       .29         .27
      one layer                                     .21         .23
      three layers                                  .19         .23
      one attention head                            .31         .21
      width 24                                      .36         .24
    head twice as large                             .30         .41
    head 2.8 times as large, 600 steps of pre-tr.   .60   .46   .55      .32
    head four times as large                        .52   .40   .56      .30
    head eight times as large                       .43   .45   .64      .25
    head N(0, 1)                                    .43   .45   .63      .32   ← full
      400 steps of students                         .54   .52   .66      .39
    quick preset, head N(0, 1)                      .53   .40   .63            ← quick
    quick preset, head N(0, 1/4)                    .50   .43   .48
    demo preset, head N(0, 1)                       .48 (eagle .51)            ← demo

So what counts is the head. We suppose, and have not shown, why: there are far more words than
dimensions, and a head that starts large keeps the overlaps of its words' directions that it was
born with, those of numbers with answers too. Dolphin and birch took no part in the choice.
"""
