"""What a result says: one curve of the progress (E1), its cause (E2), its prediction (P1)."""

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.explain.arms import ABLATIONS, CONTROLS, FACTORS, FREE, MAIN, ONLY, WITHOUT
from subliminal_toy.explain.config import ExplainConfig
from subliminal_toy.explain.curve import PREDICTORS, Fit, across_networks, left_out
from subliminal_toy.explain.experiment import STEPS_OF_PREDICTION

FEWEST_REPLICATES = 8
FEWEST_TRAININGS = {"digits": 20}  # of E1
FEWEST_ELSEWHERE = 12
LEAST_R2, LARGEST_ERROR = 0.9, 0.06
LEFT, BEHIND, NEAR = 0.25, 0.1, 0.05  # of E2: of the gain; of the accuracy; of the accuracy
GRID = 21  # values of q at which two paths are compared
FEWEST_CONDITIONS, LOW, MOST_LOW, LEAST_RANK = 24, 0.2, 1 / 3, 0.95  # of P1
RIVALS = ("predicted", "predicted_progress", "first_cosine", "slope", "descent")
"""What could rank the students before they are trained; the first is P1's."""


def summarize(config: ExplainConfig, data: xr.Dataset) -> dict:
    """Return the tables and claims of a result of ``experiment``."""
    fits = {name: left_out(explained(data), name, FACTORS) for name in PREDICTORS}
    at_end = final(data).astype(float)
    claims = claim_e1(config, data, fits["progress"]), claim_e2(data), claim_p1(data)
    return {
        "n_replicates": config.n_replicates,
        "diverged": _diverged(data),
        "trainings": {
            name: {str(of): float(at_end[of].sel(training=name).mean()) for of in at_end}
            for name in data.training.values.tolist()
        },
        "r2": {name: fit.table() for name, fit in fits.items()},
        "errors": fits["progress"].errors(),
        "above": fits["progress"].above(LARGEST_ERROR),
        "ablation": {
            name: stats.as_json(stats.estimate(of)) for name, of in ablation(data).items()
        },
        "prediction": prediction(data),
        "networks": across_networks(data, MAIN),
        "claims": [stats.as_json(claim) for claim in claims],
    }


def ablation(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the accuracies, by replicate, of the untrained network and of E2's students."""
    at_end = final(data).accuracy
    each = {"untrained": data.untrained.sel(network=MAIN)}
    each |= {name: at_end.sel(training=name) for name in ABLATIONS}
    return {name: of.values.astype(float) for name, of in each.items()}


def _diverged(data: xr.Dataset) -> int:
    return int((data.diverged > 0).any(["training", "step"]).sum())


def final(data: xr.Dataset) -> xr.Dataset:
    """Return every training at its end."""
    return data[["accuracy", "progress", "imitation_loss"]].sel(step=data.final_step)


def explained(data: xr.Dataset) -> xr.Dataset:
    """Return the trainings of E1: of the main network, nothing done to their updates."""
    return data.isel(training=(data.of_network == MAIN) & (data["update"] == "all"))


def _untested(data: xr.Dataset, *wanting: str) -> str:
    """Return why a claim is not tested, "" if it is; ``wanting`` are its own reasons, or ""."""
    n, diverged = data.sizes["replicate"], _diverged(data)
    few = f"n = {n}, the criterion asks for {FEWEST_REPLICATES}" if n < FEWEST_REPLICATES else ""
    lost = f"{diverged} of {n} replicates diverged" if diverged else ""
    return "; ".join(filter(None, (lost, *wanting, few)))


def claim_e1(config: ExplainConfig, data: xr.Dataset, fit: Fit) -> stats.Claim:
    """Return the claim that progress explains the amount, with its verdict."""
    fewest = FEWEST_TRAININGS.get(config.data, FEWEST_ELSEWHERE)
    n, r2 = explained(data).sizes["training"], fit.r2()
    few = f"{n} trainings, the criterion asks for {fewest}" if n < fewest else ""
    return stats.judge(
        "E1",
        "For one architecture the student's accuracy is one rising curve of its progress along the "
        "teacher's displacement, whatever is varied about the student",
        "isotonic fit of accuracy on progress, every level of every factor and the scored "
        f"replicate left out, a point for every replicate and checkpoint, at least {fewest} "
        f"trainings and {FEWEST_REPLICATES} replicates: pooled R² at least {LEAST_R2:g} (shown, "
        "with its interval by bootstrap over replicates) and root mean square error at most "
        f"{LARGEST_ERROR:g} in every level",
        r2,
        r2.mean >= LEAST_R2 and not fit.above(LARGEST_ERROR),
        untested=_untested(data, few),
    )


def claim_e2(data: xr.Dataset) -> stats.Claim:
    """Return the claim that progress is the cause, with its verdict."""
    of = ablation(data)
    free, untrained = of[FREE], of["untrained"]
    left = stats.estimate(of[WITHOUT] - untrained - LEFT * (free - untrained))
    ahead = stats.estimate(at_equal_progress(data))
    controls = [stats.estimate(of[name] - free) for name in CONTROLS]
    return stats.judge(
        "E2",
        "Without the one component of its steps along the teacher's displacement a student gains "
        "little; with that component alone it gains as much as the free student at equal progress",
        f"paired, n at least {FEWEST_REPLICATES}, at the end: (without − untrained) − {LEFT:g} "
        "(free − untrained) has its upper end below 0 (shown); only − free at equal progress (both "
        "paths interpolated over their common range, mean): lower end above "
        f"{-BEHIND:g}; without a random direction − free, and without the free student's own "
        f"displacement made orthogonal to the teacher's − free: whole intervals within ±{NEAR:g}",
        left,
        left.upper < 0
        and ahead.lower > -BEHIND
        and all(control.within(-NEAR, NEAR) for control in controls),
        (ahead, *controls),
        _untested(data),
    )


def at_equal_progress(data: xr.Dataset) -> np.ndarray:
    """Return by replicate how far ahead the student of one component is of the free one.

    The mean over equally spaced values of the progress that both have passed through.
    """
    paths = data[["accuracy", "progress"]].transpose("replicate", ...)
    both = [paths.sel(training=name).dropna("step") for name in (FREE, ONLY)]

    def ahead(i: int, untrained: float) -> float:
        free, only = (path(one.isel(replicate=i), untrained) for one in both)
        common = np.linspace(0, min(free[0].max(), only[0].max()), GRID)
        return float((np.interp(common, *only) - np.interp(common, *free)).mean())

    return np.array([ahead(i, start) for i, start in enumerate(ablation(data)["untrained"])])


def path(one: xr.Dataset, untrained: float) -> tuple[np.ndarray, np.ndarray]:
    """Return progress, ascending, and accuracy of one training, the untrained network first."""
    q, y = (np.append(first, one[n]) for n, first in (("progress", 0), ("accuracy", untrained)))
    order = np.argsort(q, kind="stable")
    return q[order], y[order]


def foreseen(data: xr.Dataset) -> xr.Dataset:
    """Return the conditions of P1 at their end, with what was predicted of them."""
    chosen = data.isel(training=data.condition.values)
    return chosen[list(RIVALS)].assign(accuracy=final(chosen).accuracy)


def prediction(data: xr.Dataset) -> dict:
    """Return how predicted and measured accuracy agree on replicate means.

    ``rank`` has Spearman's coefficient of each of ``RIVALS``; ``passes`` the passes over a
    student's inputs of its training and of its prediction, averaged over the conditions.
    """
    of = foreseen(data)
    measured, guess = (of[name].mean("replicate").values for name in ("accuracy", "predicted"))
    spread = ((measured - measured.mean()) ** 2).sum()
    return {
        "rank": {name: stats.as_json(rank(of, name)) for name in RIVALS},
        "r2_identity": float(1 - ((measured - guess) ** 2).sum() / spread),
        "low": float((measured < LOW).mean()),
        "passes": {"training": float(of.epochs.mean()), "prediction": STEPS_OF_PREDICTION},
    }


def rank(of: xr.Dataset, rival: str) -> stats.Estimate:
    """Return Spearman's coefficient of a rival with the accuracy, on replicate means."""
    arrays = (of[name].transpose("replicate", "training").values for name in ("accuracy", rival))
    return stats.rank_correlation(*arrays)


def claim_p1(data: xr.Dataset) -> stats.Claim:
    """Return the claim that the amount can be predicted, with its verdict."""
    of, low = foreseen(data), prediction(data)["low"]
    n, fewest = of.sizes["training"], FEWEST_CONDITIONS
    few = f"{n} conditions, the criterion asks for {fewest}" if n < fewest else ""
    weak = f"{low:.0%} of the conditions are below accuracy {LOW:g}" if low > MOST_LOW else ""
    measured = rank(of, "predicted")
    return stats.judge(
        "P1",
        "How much students of Adam take over from inputs of one scale can be ranked before any of "
        "them is trained, by the network linearised at their start",
        f"at least {fewest} conditions listed beforehand, at most a third of them below "
        f"accuracy {LOW:g}, students of one length: Spearman's rank correlation of predicted and "
        f"measured accuracy, replicate means, at least {LEAST_RANK:g} (interval by bootstrap over "
        "replicates)",
        measured,
        measured.mean >= LEAST_RANK,
        untested=_untested(data, few, weak),
    )
