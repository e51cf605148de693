"""Studies: a grid of conditions, run in chunks, resumed where it stopped, read back as one table."""

from __future__ import annotations

from noisylib.study.config import MethodSpec, RunSpec, StudyConfig, load_config
from noisylib.study.plan import plan_study
from noisylib.study.runner import collect, run_study

__all__ = ["MethodSpec", "RunSpec", "StudyConfig", "collect", "load_config", "plan_study", "run_study"]
