"""What a run of the one-step theorem comes to: tables, and the claims T1 to T5."""

import json
from typing import Any

import numpy as np
import xarray as xr

from subliminal_toy import stats
from subliminal_toy.theorem import claims, tables
from subliminal_toy.theorem.config import TheoremConfig
from subliminal_toy.theorem.tables import records, rows


def summarize(config: TheoremConfig, data: xr.Dataset) -> dict[str, Any]:
    """Return the tables and claims of a result of ``experiment``."""
    grid, broken = tables.grid_table(config, data), claims.violations(data)
    steps = tables.steps_table(data)
    two_ways = np.abs(data.grid_slope_by_step / data.grid_slope.where(data.grid_slope > 0) - 1)
    summary = {
        "trials": int(broken.size),
        "violations": int(broken.sum()),
        "trials_with_slope": int((data.trial_slope > 0).sum()),
        "trials_without_slope": int((data.trial_slope == 0).sum()),
        "trial_epsilon": config.epsilon,
        "learning_rate": config.learning_rate,
        "grid": records(grid),
        "grid_by_architecture": rows(grid, ["architecture"], tables.grid_row),
        "slope_two_ways": float(two_ways.max()),  # largest relative difference of A and B·v
        "nulls": records(data[["null_value", "null_bound"]]),
        "cross_slope": tables.cross_rows(data),
        "cross_slope_by_start": tables.cross_totals(data),
        "outside": rows(data, ["step", "case", "case_epsilon"], tables.outside_row),
        "distillation": rows(data, ["path_start"], tables.path_row),
        "counterexamples": records(data[["counterexample_value", "counterexample_formula"]]),
        "steps": rows(steps, ["rate", "k"], tables.steps_row),
        "progress": records(
            data.isel(progress_step=-1)[["progress_measured", "progress_coverage"]]
        ),
        "metrics": rows(data, ["metric"], tables.metric_row),
        "sampled": rows(data, ["label_loss", "label_epsilon", "multiple"], tables.label_row),
        "labels_needed": stats.as_json(tables.labels_needed(data)),
        "claims": [stats.as_json(claim) for claim in claims.judged(data, grid, steps)],
    }
    # A value that is not finite is not JSON either: None instead.
    return json.loads(json.dumps(summary), parse_constant=lambda _: None)
