"""Every condition of every claim decides on both sides of its bound, and is what is written."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from subliminal_toy import claims
from subliminal_toy.claims import All, Condition, Lower, Mean, Upper, Verdict, Within
from subliminal_toy.experiments import EXPERIMENTS
from subliminal_toy.stats import Estimate

ROOT = Path(__file__).parents[1]
MODULES = {entry.package: entry.module("claims") for entry in EXPERIMENTS.values()}
EVERY = [claim for module in MODULES.values() for claim in module.CLAIMS]
EARLIER = {"explain_digits", "explain_mnist"}
"""Records whose quantities are computed by no code any more: docs/changes.md, E1."""
RECORDS = sorted(path.parent.name for path in (ROOT / "figures").glob("*/manifest.json"))
DATA = xr.Dataset({"diverged": ("replicate", np.zeros(3, bool))})
FAR, NEAR = 10.0, 1e-6


def inside(bound):
    """Return values just inside a bound, as (value, low, high)."""
    match bound:
        case Lower(above):
            return above + FAR, above + NEAR, above + 2 * FAR
        case Upper(below):
            return below - FAR, below - 2 * FAR, below - NEAR
        case Within(low, high):
            return (low + high) / 2, low + NEAR, high - NEAR
        case Mean(at_least, at_most):
            value = at_least if np.isfinite(at_least) else at_most
            return value, value - FAR, value + FAR
        case All(above):
            return 1.0, max(above, 0) + NEAR, 1.0


def outside(bound):
    """Return values just outside a bound: each differs from those inside in one number."""
    value, low, high = inside(bound)
    match bound:
        case Lower(above):
            return [(value, above - NEAR, high)]
        case Upper(below):
            return [(value, low, below + NEAR)]
        case Within():
            return [(value, bound.low - NEAR, high), (value, low, bound.high + NEAR)]
        case Mean(at_least, at_most):
            ends = [(at_least - NEAR, low, high), (at_most + NEAR, low, high)]
            return [end for end in ends if np.isfinite(end[0])]
        case All(above):
            return [(1 - NEAR, low, high), *([(1.0, above - NEAR, 1.0)] if above >= 0 else [])]


def judged(claim, *estimates, data=DATA):
    """Judge a claim whose conditions measure what is given."""
    conditions = tuple(
        condition._replace(estimate=lambda _, estimate=estimate: estimate)
        for condition, estimate in zip(claim.conditions, estimates, strict=True)
    )
    applied = replace(claim, conditions=conditions, applies=lambda data: True)
    return claims.judge([applied], data)[0]


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.id)
def test_every_condition_decides_on_both_sides_of_its_bound(claim):
    met = [Estimate(*inside(c.bound), c.fewest) for c in claim.conditions]
    yes, no = (
        (Verdict.REPRODUCED, Verdict.NOT_REPRODUCED)
        if claim.kind == "paper"
        else (Verdict.HELD, Verdict.NOT_HELD)
    )
    assert judged(claim, *met).verdict == yes
    for i, condition in enumerate(claim.conditions):

        def with_one(*values, i=i, condition=condition, n=None):
            estimate = Estimate(*values, condition.fewest if n is None else n)
            return judged(claim, *met[:i], estimate, *met[i + 1 :])

        for values in outside(condition.bound):
            assert with_one(*values).verdict == no
        few = with_one(*met[i][:3], n=condition.fewest - 1)
        assert few.verdict == Verdict.NOT_TESTED and f"asks for {condition.fewest:,}" in few.reason
        assert with_one(np.nan, *met[i][1:3]).verdict == Verdict.NOT_TESTED
        without = with_one(met[i].value, np.nan, np.nan).verdict
        assert (without == Verdict.NOT_TESTED) == condition.interval


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.id)
def test_a_replicate_that_diverged_leaves_every_claim_untested(claim):
    met = [Estimate(*inside(c.bound), c.fewest) for c in claim.conditions]
    lost = judged(claim, *met, data=DATA.assign(diverged=("replicate", [False, True, False])))
    assert lost.verdict == Verdict.NOT_TESTED and lost.reason == "1 of 3 replicates diverged"


def test_ids_are_unique_and_sentences_short():
    assert len({claim.id for claim in EVERY}) == len(EVERY)
    for claim in EVERY:
        assert len(claim.sentence.split()) <= 30, claim.id


def test_a_bound_says_the_numbers_by_which_it_decides():
    said = {
        Lower(0.1): "interval above 0.1",
        Upper(0.25): "interval below 0.25",
        Within(-0.05, 0.05): "interval within ±0.05",
        Within(0.04, 0.16): "interval within 0.04 to 0.16",
        Mean(at_least=0.2): "at least 0.2",
        Mean(at_most=0.06): "at most 0.06",
        All(0.999): "all, interval above 0.999",
    }
    assert {bound: str(bound) for bound in said} == said


def test_the_hash_of_a_claim_is_that_of_its_criterion():
    claim = next(claim for claim in EVERY if len(claim.conditions) > 1)
    first, *others = claim.conditions
    assert replace(claim, sentence="another sentence").sha256 == claim.sha256
    for conditions in (
        (first._replace(bound=Lower(above=7.0)), *others),
        (first._replace(what="something else"), *others),
        (first._replace(fewest=77), *others),
        tuple(others),
    ):
        assert replace(claim, conditions=conditions).sha256 != claim.sha256
    assert replace(claim, kind={"paper": "prediction"}.get(claim.kind, "paper")).sha256 != (
        claim.sha256
    )


def test_gap_is_below_zero_where_one_interval_lies_below_the_other():
    low, high = Estimate(0.1, 0.0, 0.2, 5), Estimate(0.5, 0.3, 0.7, 4)
    assert claims.gap(low, high).high == pytest.approx(-0.1)
    assert claims.gap(high, low).low == pytest.approx(0.1) and claims.gap(low, high).n == 4


@pytest.mark.parametrize("folder", RECORDS)
def test_a_record_was_judged_by_todays_criteria_or_the_change_is_told(folder, committed):
    told = set(re.findall(r'id="(\w+)"', (ROOT / "docs" / "changes.md").read_text()))
    record = committed[folder]
    now = {judgement.claim.id: judgement.claim.sha256 for judgement in record.judgements}
    for id, sha256 in record.manifest.get("claims", {}).items():
        assert now.get(id) == sha256 or id in told, id


@pytest.mark.parametrize("folder", sorted({*RECORDS} - EARLIER))
def test_a_summary_is_what_the_data_say(folder, committed):
    record = committed[folder]
    rows = EXPERIMENTS[record.manifest["experiment"]].module("claims").estimates(record.data)
    now = {(row.quantity, row.labels): row.estimate for row in rows}
    assert now.keys() == record.estimates.keys()
    for name, estimate in now.items():
        np.testing.assert_allclose(record.estimates[name], estimate, rtol=1e-4, atol=1e-9)
    summary = (ROOT / "figures" / folder / "summary.json").read_text()
    assert len(summary.splitlines()) <= 300


@pytest.mark.parametrize("folder", sorted({*RECORDS} - EARLIER - {"theorem", "real", "real_arms"}))
def test_one_replicate_or_a_diverged_one_is_judged_and_decides_nothing(folder, committed):
    record = committed[folder]
    entry = EXPERIMENTS[record.manifest["experiment"]].module("claims")
    one = record.data.isel(replicate=[0])
    lost = record.data.copy(deep=True)
    for variable in lost.data_vars.values():
        if variable.dtype.kind == "f" and "replicate" in variable.dims:
            variable[{"replicate": 0}] = np.nan
    lost["diverged"] = lost.diverged.astype(float).fillna(0)
    lost["diverged"][{"replicate": 0}] = 1
    assert len(list(entry.estimates(one))) > 3
    for data in (one, lost):
        verdicts = {one.verdict for one in claims.judge(entry.CLAIMS, data)}
        assert verdicts <= {Verdict.NOT_TESTED}


def test_a_condition_counts_replicates_unless_it_says_otherwise():
    assert Condition("x", lambda data: Estimate(0.0, 0.0, 0.0, 1), Lower(0.0)).fewest == 2
