"""What a result comes to: arms, transfer matrix, lineage, teachers, detectors, and the claims.

Replicates are the unit: what is measured on several traits is first averaged within a replicate.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.lm import arms, claims
from subliminal_toy.lm.arms import Arm
from subliminal_toy.lm.config import TEACHINGS, LmConfig
from subliminal_toy.lm.traits import COLOURS_RIGHT, FACTS

LEARNED = (arms.NUMBERS, arms.DISTRIBUTIONS)


def _json(values: xr.DataArray) -> dict:
    return stats.as_json(stats.estimate(values.values))


def _by_trait(config: LmConfig, values: xr.DataArray, wanted: Callable[[Arm], object]) -> dict:
    """Return the estimates of the wanted arms that were run for each trait."""
    return {
        trait: {
            arm.name: _json(values.sel(arm=arm.name, trait=trait))
            for arm in arms.table(config)
            if trait in arms.traits_of(config, arm) and wanted(arm)
        }
        for trait in config.traits
    }


def summarize(config: LmConfig, data: xr.Dataset) -> dict:
    """Return the summary of a result; see DESIGN, section 4, for the keys of every version."""
    base = data.probability.sel(arm="base_model", trait=config.traits[0])

    def reads(arm: Arm) -> bool:
        return arm.learns not in (arms.NOTHING, arms.ANSWERS)

    return {
        "dataset": f"a small language, numbers 0–{config.n_numbers - 1}",
        "n_replicates": config.n_replicates,
        "diverged": claims.diverged(data),
        "base_model": {
            "parameters": data.attrs.get("parameters"),
            "final_loss": _json(data.pretraining_loss.isel(step=-1)),
            **{m: _json(base.sel(measure=m)) for m in FACTS},
        },
        "arms": _by_trait(config, claims.on_own_trait(data), lambda arm: True),
        "minus_control": _by_trait(config, claims.gains(data), lambda arm: arm.control),
        "kept_fraction": _by_trait(config, data.kept, lambda arm: arm.learns in LEARNED),
        "lists_used": {
            trait: {arm: found["values"] for arm, found in by_arm.items()}
            for trait, by_arm in _by_trait(config, data.lists_used, reads).items()
        },
        "transfer_matrix": _matrix(config, data),
        "capability": _capability(config, data),
        "data_sizes": _sizes(config, data),
        "detectors": _detectors(data),
        "lineage": _lineage(config, data),
        "specificity": {trait: _specificity(data, trait) for trait in config.traits},
        "teachers": _teachers(config, data),
        "mechanism": {trait: _mechanism(data, trait) for trait in config.traits},
        "claims": [stats.as_json(claim) for claim in claims.claims(config, data)],
    }


def _rows(values: np.ndarray) -> list[list[float | None]]:
    return [[x if np.isfinite(x) else None for x in row] for row in values.tolist()]


def _matrix(config: LmConfig, data: xr.Dataset) -> dict:
    """Return the mean of each trait (column) in each trait's student (row)."""
    names = list(config.traits)
    every = data.probability.astype(np.float64).sel(measure=names)
    probability, excess = (
        values.sel(arm="student").mean("replicate", skipna=False).values
        for values in (every, claims.minus_control(data, every))
    )
    others = np.where(np.eye(len(names), dtype=bool), -np.inf, excess).max(axis=0)
    return {
        "traits": names,
        "probability": _rows(probability),
        "minus_control": _rows(excess),
        "diagonal_above_all": bool(np.all(np.diagonal(excess) > others)),
    }


def _capability(config: LmConfig, data: xr.Dataset) -> dict:
    """Return the colours and capitals that models name rightly, and which students are damaged."""
    crossed = ("student", "control", "cross_model", "cross_model_control")
    found = {
        trait: {
            arm: {m: _json(data.probability.sel(arm=arm, trait=trait, measure=m))
                  for m in FACTS}
            for arm in ("teacher", *crossed)
        }
        for trait in config.traits
    }  # fmt: skip
    damaged = [
        f"{arm} {trait}"
        for trait in config.traits
        for arm in crossed
        if not (found[trait][arm][COLOURS_RIGHT]["mean"] or 0) >= claims.MIN_FACTS
    ]
    return {"traits": found, "damaged": damaged}


def _sizes(config: LmConfig, data: xr.Dataset) -> list[dict]:
    """Return student − control against the number of lists, averaged over the probed traits."""
    names = list(arms.favourites(config)[:3])
    if not names:
        return []
    gain = claims.gains(data).sel(trait=names)
    of_size = {arm.n_lists or config.n_lists: arm.name for arm in arms.table(config)
               if arm.name == "student" or arm.n_lists}  # fmt: skip
    return [
        {"lists": n, **_json(claims.over_traits(gain.sel(arm=name)))}
        for n, name in sorted(of_size.items())
    ]


def _lineage(config: LmConfig, data: xr.Dataset) -> dict:
    """Return what students of other base models keep of student − control, of favourites."""
    names = list(arms.favourites(config))
    if not names:
        return {}
    gain = claims.over_traits(claims.gains(data).sel(trait=names))
    return {
        arm.name: stats.as_json(stats.ratio(gain.sel(arm=arm.name), gain.sel(arm="student")))
        for arm in arms.table(config)
        if arm.base != arms.OWN and arm.learns == arms.NUMBERS and not arm.writer
    }


def _specificity(data: xr.Dataset, trait: str) -> dict:
    """Return what teachers and students of the usual training say and know elsewhere."""
    of = data.sel(trait=trait)
    shown = of.drift.notnull().all(("replicate", "text")) | (of.arm == "base_model")
    return {
        arm: {
            "elsewhere": _json(of.elsewhere.sel(arm=arm)),
            **{fact: _json(of.right.sel(arm=arm, fact=fact)) for fact in FACTS},
            **({} if arm == "base_model" else
               {text: _json(of.drift.sel(arm=arm, text=text)) for text in data.text.values}),
        }
        for arm in of.arm.values[shown].tolist()
    }  # fmt: skip


def _teachers(config: LmConfig, data: xr.Dataset) -> dict | None:
    """Return the table of teachers, and how well KL and progress rank what they pass on."""
    if "teachers" not in config.families:
        return None
    of = claims.of_teachings(data)
    labels = [teaching.label for teaching in TEACHINGS.values() if not teaching.answer]
    rows = [
        {"teacher": label, **{name: _json(values.isel(arm=i)) for name, values in of.items()}}
        for i, label in enumerate(labels)
    ]
    ranks = {
        name: stats.as_json(stats.rank_correlation(of[name].values, of["transfer"].values))
        for name in ("kl", "progress")
    }
    return {"rows": rows, "rank_correlation": ranks}


def _detectors(data: xr.Dataset) -> list[dict]:
    """Return each detector's AUC, averaged over traits within a replicate."""
    auc = claims.over_traits(data.auc)
    return [
        {
            "detector": str(name),
            "given": str(data.given.sel(detector=name).item()),
            "labelled": bool(data.informed.sel(detector=name)),
            "one_list": _json(auc.sel(detector=name, judged=1)),
            "hundred_lists": _json(auc.sel(detector=name, judged=100)),
        }
        for name in data.detector.values
    ]


def _mechanism(data: xr.Dataset, trait: str) -> dict:
    """Return alignment, KL per number, what sampling costs, and progress of a trait."""
    alignment, progress = (data[name].sel(trait=trait) for name in ("alignment", "progress"))
    less = progress.sel(arm="student") - progress.sel(arm="control")
    return {
        "cosine_student": _json(alignment.sel(arm="student")),
        "cosine_soft": _json(alignment.sel(arm="soft")),
        "kl_per_number": _json(data.kl_per_number.sel(trait=trait)),
        "lists_asked": _json(data.lists_asked.sel(trait=trait)),
        "away": {str(n): _json(data.away.sel(trait=trait, judged=n)) for n in data.judged.values},
        "progress_minus_control": {
            name: _json(less.sel(parameters=name)) for name in data.parameters.values.tolist()
        },
    }
