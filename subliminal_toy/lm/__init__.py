"""The owl in the numbers: a small language model trained from scratch.

Read in this order: ``arms`` (the table: what is compared), ``language`` (words and documents),
``traits`` (what is asked), ``numbers`` and ``lists`` (what a student may see), ``training`` (one
model is pre-trained, asked, writes), ``teaching``, ``learning``, ``detectors``, ``experiment``
(many models, in parts), ``replicate`` (parts read by what they hold), ``result`` (parts put
together), ``summary``, ``claims``, ``config``.

``docs/lm-settings.md`` lists the settings that were tried.
"""
