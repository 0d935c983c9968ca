"""The picture of ``check_one_step``: where the theorem's assumptions are met, and where not."""

import numpy as np
from matplotlib.figure import Figure

from subliminal_toy.plots import colours
from subliminal_toy.theorem.check import Check

COLOURS = {"right": colours.STUDENT, "wrong": colours.OTHER_START}


def figure(right: Check, wrong: Check | None = None) -> Figure:
    """Draw the remainder against ε, of slope 2 where the theorem holds, and the teacher's loss.

    ``wrong`` is the same with one assumption broken, such as a student from another start.
    """
    drawn = Figure(figsize=(8.0, 3.4))
    left, below = drawn.subplots(1, 2)
    epsilons, predicted = right.epsilons, -right.predicted_trait_changes
    left.loglog(epsilons, epsilons**2 * right.relative_errors[0] / epsilons[0], "--",
                color="black", linewidth=1, label="slope 2")  # fmt: skip
    below.loglog(epsilons, predicted, "--", color="black", linewidth=1, label="predicted fall")
    checks = {"right": right} if wrong is None else {"right": right, "wrong": wrong}
    for name, check in checks.items():
        colour, falls = COLOURS[name], check.trait_changes < 0
        size = np.abs(check.trait_changes)
        left.loglog(check.epsilons, check.relative_errors * check.epsilons, "o-", markersize=4,
                    linewidth=0.8, color=colour, label=f"{name}: {check.verdict}")  # fmt: skip
        below.loglog(check.epsilons[falls], size[falls], "o", color=colour, markersize=4,
                     label=f"{name}: fall")  # fmt: skip
        below.loglog(check.epsilons[~falls], size[~falls], "x", color=colour, markersize=5,
                     label=f"{name}: rise")  # fmt: skip
    left.set_ylabel("|Δ$_S$·v − εA| / A")
    below.set_ylabel("change of the teacher's loss, absolute")
    for axes in (left, below):
        axes.set_xlabel("teacher's step ε")
        axes.legend()
    drawn.tight_layout()
    return drawn
