"""The methods that can be recommended: each as someone can run it who knows features and labels only.

A benchmark may tell a method the noise rate or its type. Nobody knows them of their own data, so here the
rate is one that was estimated, and DivideMix has fixed weights.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from noisylib.errors import NoisylibError
from noisylib.methods import METHODS, Method, make_method

# The authors' setting where noise is real, and so of unknown rate and type: no unlabelled loss, no penalty
# in warm-up, and MixUp from Beta(0.5, 0.5). Source: Li et al. 2020, section 4.2 and release (Clothing1M).
UNTOLD_DIVIDEMIX = {"unlabelled_weight": 0.0, "warm_up_penalty": 0.0, "alpha": 0.5}


@dataclass(frozen=True)
class Candidate:
    """A method as it can be recommended.

    Attributes
    ----------
    key : its name here and in tables, that of the registry.
    title : what people read.
    method : the configured rule.
    given : facts of the noise that are estimated from the labels and given to it, keys of ``TOLD``.
    """

    key: str
    title: str
    method: Method
    given: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[tuple[str, float], ...]:
        """Hyper-parameters that differ from the method's own defaults, by name."""
        default = type(self.method)()
        values = (
            (f.name, getattr(self.method, f.name)) for f in sorted(fields(default), key=lambda f: f.name)
        )
        return tuple((name, value) for name, value in values if value != getattr(default, name))


def _candidate(key: str, title: str = "", **options: float) -> Candidate:
    method = make_method(key, options)
    return Candidate(key, title or METHODS[key].title, method, method.told)


CANDIDATES: dict[str, Candidate] = {
    candidate.key: candidate
    for candidate in (
        _candidate("ce"),
        _candidate("ls"),
        _candidate("gce"),
        _candidate("forward"),
        _candidate("elr"),
        _candidate("cufit"),
        _candidate("turn"),
        _candidate("coteaching", "Co-teaching, estimated rate"),
        _candidate("dividemix", "DivideMix, told nothing", **UNTOLD_DIVIDEMIX),
    )
}


def able_candidates(y: np.ndarray, n_classes: int, head: str, *, weighted: bool = False) -> list[str]:
    """Return the candidates that can train a head of this kind on `y` (N,), with sample weights if asked."""
    able = []
    for key, candidate in CANDIDATES.items():
        try:
            candidate.method.check_labels(y[None], n_classes)
            candidate.method.head_kinds(head)
        except NoisylibError:
            continue
        if candidate.method.mean_of_samples or not weighted:
            able.append(key)
    return able
