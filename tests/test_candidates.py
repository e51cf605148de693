"""What can be recommended is told nothing that nobody knows, and trains with that alone."""

from __future__ import annotations

import numpy as np
import pytest
from small_bank import X_TEST, Y_TEST, K, X, noisy

from noisylib.analysis.selector import load_selector
from noisylib.candidates import CANDIDATES, able_candidates
from noisylib.errors import NoisylibError
from noisylib.methods import METHODS
from noisylib.recipe import Recipe
from noisylib.training import train_bank

QUICK = Recipe(epochs=3, batch_size=16, score_epochs=1, width=4)


def trained(key: str, **given) -> np.ndarray:
    arrays = (X, noisy(2), X_TEST, Y_TEST)
    method = CANDIDATES[key].method
    return train_bank(
        *arrays, n_classes=K, method=method, seeds=[0, 1], recipe=QUICK, device="cpu", **given
    ).recall


def test_the_nine() -> None:
    assert list(CANDIDATES) == [
        *("ce", "ls", "gce", "forward", "elr", "cufit", "turn", "coteaching", "dividemix"),
    ]
    for key, candidate in CANDIDATES.items():
        assert candidate.key == key == candidate.method.name
    titles = {key: candidate.title for key, candidate in CANDIDATES.items()}
    assert len(set(titles.values())) == 9
    changed = {key for key, title in titles.items() if title != METHODS[key].title}
    assert changed == {"coteaching", "dividemix"}, "what is run otherwise has a title of its own"


def test_only_coteaching_is_given_anything() -> None:
    assert {key: c.given for key, c in CANDIDATES.items() if c.given} == {"coteaching": ("noise_rate",)}
    for candidate in CANDIDATES.values():
        assert candidate.method.told == candidate.given


def test_only_dividemix_is_set_otherwise() -> None:
    changed = {key: dict(c.options) for key, c in CANDIDATES.items() if c.options}
    assert changed == {"dividemix": {"alpha": 0.5, "unlabelled_weight": 0.0, "warm_up_penalty": 0.0}}


@pytest.mark.parametrize("key", list(CANDIDATES))
def test_each_trains_with_what_it_is_given_and_no_more(key: str) -> None:
    given = {f"{fact}s": [0.2, 0.3] for fact in CANDIDATES[key].given}
    assert trained(key, **given).shape == (2, K)
    if given:
        with pytest.raises(NoisylibError, match="noise_rate"):
            trained(key)


def test_selector_knows_every_candidate() -> None:
    assert set(load_selector().content["candidates"]) == set(CANDIDATES)


def test_candidates_that_cannot_train_here_are_left_out() -> None:
    y = np.repeat([0, 1], 20)
    assert able_candidates(y, 2, "adapter") == list(CANDIDATES)
    assert "turn" not in able_candidates(y, 2, "mlp")
    weighted = able_candidates(y, 2, "adapter", weighted=True)
    assert "ce" in weighted
    assert not {"dividemix", "coteaching"} & set(weighted)
