"""The live part of the chapter on speed: the plain loop trains what the bank trains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noisylib.book import check
from noisylib.book.describe import performance_live as live
from noisylib.book.performance_parameters import PerformanceParameters
from noisylib.book.tables import NBSP
from noisylib.errors import ConfigError, UnknownNameError

SMALL = {"runs": 4, "n_features": 12, "samples": 300, "epochs": 2}


@pytest.mark.parametrize("head", ["linear", "mlp", "adapter"])
def test_loop_and_bank_train_the_same_heads(head: str) -> None:
    found = live.train(PerformanceParameters(head=head, **SMALL))
    assert found.difference < 1e-9
    assert found.checked == 3
    assert set(found.seconds) == set(live.WAYS)
    assert all(scores.shape == (4,) for scores in found.accuracy.values())
    for way in ("single", "loop"):
        np.testing.assert_allclose(found.accuracy["bank"], found.accuracy[way], atol=0.02)


def test_a_loop_that_trains_otherwise_is_noticed(monkeypatch) -> None:
    run = live.plain_run
    monkeypatch.setattr(live, "plain_run", lambda X, X_test, y, *more: run(X, X_test, y.roll(1), *more))
    assert live.train(PerformanceParameters(head="linear", **SMALL)).difference > 1e-2


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with live.one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def made(loop: float, gap: float = 0.0) -> live.Live:
    accuracy = {
        "bank": np.array([0.5, 0.7]),
        "single": np.array([0.5, 0.7]),
        "loop": np.array([0.5, 0.7 - gap]),
    }
    return live.Live({"bank": 2.0, "single": 4.0, "loop": loop}, accuracy, 2e-15, 2)


def test_table_and_words_follow_the_times() -> None:
    params = PerformanceParameters(runs=10, epochs=2)
    table = live.live_table(made(9.0), params).replace(NBSP, " ", regex=True)
    assert list(table["All runs"]) == ["2.0 s", "4.0 s", "9.0 s"]
    assert list(table["A run and epoch"]) == ["100 ms", "200 ms", "450 ms"]
    assert list(table["Of the bank's time"]) == ["1.00 times", "2.0 times", "4.5 times"]
    assert list(table["Mean accuracy (%)"]) == ["60.0"] * 3
    text = live.live_reading(made(9.0)).replace(NBSP, " ")
    assert "the plain loop took **4.5 times** as long as the bank" in text
    assert "The accuracy of every run is the same all three ways" in text
    assert r"2 runs agree with the plain loop's to a relative $2 \times 10^{-15}$" in text
    slow = live.live_reading(made(1.5, gap=0.01)).replace(NBSP, " ")
    assert "the bank was not faster: the plain loop took **0.75 times**" in slow
    assert "differ by at most 1.0 points, by rounding" in slow


def test_parameters_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="record='gpu'"):
        check("performance", record="gpu")
    with pytest.raises(ConfigError, match=r"runs=1 must be in \[2, 200\]"):
        check("performance", runs=1)
    with pytest.raises(UnknownNameError, match="head"):
        check("performance", head="liner")
