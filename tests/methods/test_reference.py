"""Every method equals a plain loop over single samples, in float64, over its whole schedule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from blobs import blobs
from reference import plain_loop

from noisylib.methods import METHODS, make_method
from noisylib.recipe import Recipe
from noisylib.training import train_bank

K, D, WIDTH = 3, 6, 5
RATE = 0.25
RULES = {
    "ce": {},
    "ls": {"smoothing": 0.1},
    "gce": {"q": 0.7},
    "elr": {"lam": 3.0, "beta": 0.7},
    # A ramp of 4 epochs inside 6 covers the rise, the corner and the plateau.
    "coteaching": {"ramp_epochs": 4, "exponent": 1},
}


def _reference_rule(name: str) -> dict:
    options = RULES[name]
    rule = {"name": name, **options}
    if name == "elr":
        rule["buffer"] = {}
    if name == "coteaching":
        rule |= {"tau": RATE, "ramp": options["ramp_epochs"], "c": options["exponent"]}
    return rule


def test_every_registered_method_has_a_reference() -> None:
    assert set(RULES) == set(METHODS)


@pytest.mark.parametrize("head", ["linear", "mlp", "adapter"])
@pytest.mark.parametrize("name", list(RULES))
def test_method_equals_plain_loop(name: str, head: str) -> None:
    X, y = blobs(41, K, D)  # 41 samples in batches of 16: the last batch holds 9
    X_test, y_test = blobs(12, K, D, seed=1)
    y_noisy = np.stack([y, (y + (np.arange(41) % 4 == 0)) % K])
    recipe = Recipe(
        epochs=6, batch_size=16, learning_rate=0.02, weight_decay=0.01, score_epochs=6, width=WIDTH
    )
    result = train_bank(
        X, y_noisy, X_test, y_test, n_classes=K, method=make_method(name, RULES[name]), head=head,
        seeds=[3, 8], noise_rates=[RATE, RATE], recipe=recipe, dtype=torch.float64, device="cpu",
    )  # fmt: skip
    for run, seed in enumerate([3, 8]):
        history, _ = plain_loop.train(
            X, y_noisy[run], X_test, _reference_rule(name), kind=head, seed=seed, K=K, epochs=6,
            batch_size=16, lr=0.02, decay=0.01, decay_at=(0.5, 0.75, 0.9), width=WIDTH,
            n_nets=METHODS[name].n_nets,
        )  # fmt: skip
        np.testing.assert_allclose(result.test_logits[run], history[-1], rtol=0, atol=1e-10)
        accuracy = (history.argmax(-1) == y_test).mean(-1)
        np.testing.assert_allclose(result.accuracy_history[:, run], accuracy, rtol=0, atol=1e-12)
