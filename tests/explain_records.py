"""Results of the experiment on progress of known shape: every number is made up."""

import jax
import numpy as np

from subliminal_toy import data
from subliminal_toy.explain import arms
from subliminal_toy.explain.config import PRESETS
from subliminal_toy.explain.experiment import KEPT, of_tables

WHOLE = PRESETS["full"]


def curve(q):
    return 0.1 + 0.8 * np.sqrt(np.clip(q, 0, 1))


def made(config=WHOLE, change=lambda student, q, y: (q, y), noise=0.01, diverged=False):
    """Return a result whose accuracy is ``curve`` of a progress that grows with the steps.

    ``change(student, q, y)`` changes the progress and accuracy of a student, (replicate, step).
    """
    rng, tables = np.random.default_rng(0), arms.tables(config)
    experiment = of_tables(tables, config.n_replicates, jax.random.key(0), data.load("digits"))
    store = {part.name: {} for part in experiment.parts}
    for table in tables:
        prefix = "".join(c if c.isalnum() else "-" for c in table.network)
        names = [n for n in store if n.startswith(prefix) and n.endswith("teachers")]
        for name in names:
            store[name] |= {"untrained": np.full(2, 0.1), "teacher": np.full(2, 0.95)}
            for s in table.students:
                store[name] |= fake(s, s.name in table.predicted, change, noise, rng)
    if diverged:
        store[names[0]][f"{table.students[0].name}/diverged"][0, -1] = True
    return experiment.assemble(store).data


REACHED = {2: 0.2, 3: 0.4, 10: 0.7, 30: 0.85, 50: 1.0}
"""Progress at the end, by the number of logits."""


def fake(student, predicted, change, noise, rng):
    steps = np.array(student.measured_at)
    q = REACHED[student.n_aux] * (steps / steps[-1]) ** 0.5 * rng.uniform(0.8, 1, (2, 1))
    if student.update == "without" and student.along == "teacher":
        q = 0 * q
    q, y = change(student, q, curve(q) + noise * rng.normal(size=q.shape))
    values = {
        "accuracy": y,
        "progress": q,
        "cosine": 0.5 + 0 * q,
        "length": rng.uniform(size=q.shape),
    }
    values |= {"imitation_loss": rng.uniform(size=q.shape), "ceiling": 0.9 + 0 * q}
    values["diverged"] = np.zeros(q.shape, bool)
    assert set(values) == set(KEPT)
    if predicted:
        foreseen = {"predicted": y[:, -1] - 0.1, "predicted_progress": q[:, -1]}
        foreseen |= {name: rng.uniform(size=2) for name in ("slope", "first_cosine", "descent")}
        values |= foreseen
    return {f"{student.name}/{name}": value for name, value in values.items()}
