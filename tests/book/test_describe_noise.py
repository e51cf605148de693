"""Descriptions of injected noise, with rates and purities by hand."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.book.describe import noise as describe_noise


def test_realised_rates_of_an_asymmetric_map_that_leaves_a_class_alone() -> None:
    y = np.repeat([0, 1, 2], [50, 30, 20])
    rates = describe_noise.realised_rates(y, [0.2], n_classes=3, class_map={0: 1, 1: 0}, seed=0)
    realised = rates.set_index("noise_type")["realised_rate"]
    assert realised["asymmetric"] == pytest.approx((10 + 6) / 100)  # the 20 of class 2 stay
    assert realised["symmetric"] == pytest.approx(0.2)
    # After the map, class 1 holds 24 of its own and 10 of class 0.
    assert rates.set_index("noise_type")["worst_purity"]["asymmetric"] == pytest.approx(24 / 34)
    assert describe_noise.rates_table(rates)["Realised rate"].to_list() == ["20.00", "20.00", "16.00"]


def test_purity_follows_the_closed_form_of_symmetric_noise() -> None:
    y = np.repeat([0, 1, 2], [600, 300, 100])
    purity = describe_noise.purity_frame(y, list("abc"), 0.4, class_map={0: 1}, seed=0)
    symmetric = purity[purity["noise"] == "symmetric"]
    share = np.array([0.6, 0.3, 0.1])
    expected = share * 0.6 / (share * 0.6 + (1 - share) * 0.4 / 2)
    np.testing.assert_allclose(symmetric["purity"], expected, atol=0.005)
    np.testing.assert_allclose(symmetric["share"], share)
    cells = [
        text.replace("\N{NO-BREAK SPACE}", " ") for text in describe_noise.purity_table(purity)["Symmetric"]
    ]
    # Of 100 images of class c 60 stay; a fifth of the 900 others, 180, join them.
    assert cells[2] == "**25.0 % of 240**"
    assert not cells[0].startswith("**")
