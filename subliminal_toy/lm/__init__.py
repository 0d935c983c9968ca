"""The owl in the numbers: a small language model trained from scratch.

Read in this order: ``arms`` (the table: what is compared), ``language`` (words and documents),
``traits`` (what is asked), ``lists`` (what a student may see), ``model`` (one model is pre-trained,
asked, writes), ``teaching``, ``learning``, ``detectors``, ``experiment`` (the stages of a run),
``result`` (a run as a Dataset), ``claims``, ``config``.

``docs/lm-settings.md`` lists the settings that were tried.
"""
