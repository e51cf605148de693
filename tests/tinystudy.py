"""A study that takes a second: 16 runs on a table of scikit-learn."""

from __future__ import annotations

from pathlib import Path

from noisylib.study import plan_study, run_study
from noisylib.study.config import parse_config
from noisylib.study.plan import Plan

CONFIG = parse_config(
    {
        "name": "tiny",
        "datasets": ["breast_cancer"],
        "backbones": ["raw"],
        "noise_types": ["symmetric", "asymmetric"],
        "noise_rates": [0.0, 0.3],
        "methods": ["ce", "coteaching"],
        "seeds": [0, 1],
        "recipe": {"epochs": 2, "score_epochs": 1, "width": 4},
    }
)


def run(results: Path, config=CONFIG, **more) -> Plan:
    """Plan and run a study, and return the plan."""
    plan = plan_study(config, results, **more)
    run_study(plan, results)
    return plan
