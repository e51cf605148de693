"""What the chapter on cleaning measures live: made losses with known answers, and a small bank."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from noisylib.book.cleaning_parameters import CleaningParameters
from noisylib.book.describe import cleaning, cleaning_draw, cleaning_mixture
from noisylib.book.describe import cleaning_text as words
from noisylib.comparison import noisy_labels
from noisylib.data.simulate import GaussianBed
from noisylib.errors import ConfigError
from noisylib.mixtures import fit_mixture, scale_to_unit
from noisylib.recipe import Recipe
from noisylib.training import train_bank

SIZES = (300, 60, 40)  # samples that carry each label


def made(shift: float = 0.0, seeds: tuple[int, ...] = (0, 1)) -> cleaning.Probed:
    """Two runs: of each label four fifths are right, with losses near 0.2, the others are wrong, near 3.

    `shift` is added to the losses of the second class.
    """
    y = np.repeat(np.arange(3), SIZES)
    wrong = np.concatenate([np.arange(size) >= 0.8 * size for size in SIZES])
    draws = np.random.default_rng(3)
    losses = np.stack([np.where(wrong, 3.0, 0.2) + 0.05 * draws.standard_normal(len(y)) for _ in seeds])
    losses += shift * (y == 1)
    y_true = np.where(wrong, (y + 1) % 3, y)
    bank = SimpleNamespace(
        class_names=("a", "b", "c"), n_classes=3, part=lambda split: (np.empty((len(y), 0)), y_true)
    )
    labels = SimpleNamespace(
        y_noisy=y, flipped=wrong, noise_type="symmetric", noise_rate=0.2, realised_rate=wrong.mean()
    )
    return cleaning.Probed(bank, (labels,) * len(seeds), seeds, losses, np.full(len(seeds), 0.5))


def bank(name: str = "gaussian", n: int = 150):
    return GaussianBed.simplex(3, 6, 3.0).bank(n, 60, seed=0, name=name)


def test_parameters_are_checked_where_they_are_given() -> None:
    assert CleaningParameters().tau == 0.6
    for values, what in (
        ({"rates": []}, "rates"),
        ({"taus": [0.5, 0.5]}, "twice"),
        ({"rates": [0.0, 0.2]}, "above 0"),
        ({"noise_rate": 0.0}, "above 0"),
        ({"noise_type": "asymmetric", "noise_rate": 0.6}, "noise_rate=0.6"),
    ):
        with (
            pytest.raises(ConfigError, match=what)
            if what != "noise_rate=0.6"
            else pytest.raises(Exception, match=what)
        ):
            CleaningParameters(**values)


def test_conditions_leave_out_what_a_kind_of_noise_cannot_have() -> None:
    params = CleaningParameters(dataset="breastmnist", rates=[0.2, 0.5], noise_rate=0.4)
    two = GaussianBed.simplex(2, 4, 3.0).bank(40, 20, seed=0, name="breastmnist")
    assert cleaning.conditions(two, params) == [
        ("symmetric", 0.2), ("asymmetric", 0.2), ("symmetric", 0.4),
    ]  # fmt: skip
    three = replace(params, dataset="gaussian", rates=[0.2, 0.6], noise_type="pairflip", noise_rate=0.2)
    assert cleaning.conditions(bank(), three) == [("symmetric", 0.2), ("symmetric", 0.6), ("pairflip", 0.2)]
    with pytest.raises(ConfigError, match=r"below 0\.5"):
        cleaning.conditions(two, replace(params, rates=[0.7]))


def test_training_is_a_linear_probe_with_gce_and_losses_of_the_observed_labels() -> None:
    params = CleaningParameters(dataset="gaussian", rates=[0.2], noise_rate=0.4, epochs=4, seeds=[0, 5])
    probed = cleaning.train(bank(), params)
    assert probed.conditions() == [("symmetric", 0.2), ("symmetric", 0.4)]
    case = probed.of("symmetric", 0.4)
    assert case.seeds == (0, 5)
    labels = noisy_labels(bank(), "symmetric", 0.4, [5])[0]
    np.testing.assert_array_equal(case.y[1], labels.y_noisy)
    np.testing.assert_array_equal(case.flipped[1], labels.flipped)
    alone = train_bank(
        bank().part("train")[0], labels.y_noisy, *bank().part("test"), n_classes=3, method="gce",
        head="linear", seeds=[5], recipe=Recipe(epochs=4, score_epochs=1), trace=True,
    )  # fmt: skip
    np.testing.assert_allclose(case.losses[1], alone.trace["loss"][-1, 0, 0], rtol=1e-4)
    assert case.accuracy[1] == pytest.approx(alone.accuracy[0])


def test_separated_losses_are_told_apart_class_by_class_wherever_the_class_lies() -> None:
    for shift in (0.0, 10.0):
        probed = made(shift)
        np.testing.assert_array_equal(probed.clean(0.6), ~probed.flipped)
    pooled = cleaning.select_globally(made(10.0).losses, 0.6)
    assert not pooled[:, made().y[0] == 1].any()  # the whole class lies above the others


def test_quality_by_hand() -> None:
    y = np.array([[0, 0, 0, 0, 1, 1, 1, 3, 3]])
    wrong = np.array([[0, 0, 1, 1, 0, 1, 0, 0, 0]], dtype=bool)
    clean = np.array([[1, 1, 1, 0, 1, 1, 0, 1, 0]], dtype=bool)
    got = {name: float(value[0]) for name, value in cleaning.quality(clean, wrong, y, 4).items()}
    # Clean: 3 of class 0 (2 right), 2 of class 1 (1 right), 1 of class 3; nobody is labelled 2.
    assert got == pytest.approx(
        {
            "clean": 6, "n": 1, "drawn": 3, "share": 6 / 9, "lost": 0.5, "purity": 4 / 6,
            "purity_drawn": (2 / 3 + 1 / 2 + 1) / 3, "recall_right": 4 / 6,
        }
    )  # fmt: skip


def test_a_sweep_has_a_row_for_every_run_and_tau_and_a_higher_tau_keeps_fewer() -> None:
    probed = made()
    frame = cleaning.sweep(probed, [0.0, 0.6, 1.0])
    assert len(frame) == 6
    clean = frame.groupby("tau")["clean"].mean()
    assert clean[0.6] == 0.8 * sum(SIZES)
    assert clean[0.0] > clean[0.6] > clean[1.0]
    top = frame[frame["tau"] == 1.0]
    assert (top["clean"] == 3).all()  # the floor: the likeliest of each class
    assert (top["n"] == 1).all()


def test_a_shift_of_a_class_changes_nothing_per_class_and_something_for_all() -> None:
    shifts = cleaning_mixture.shift_frame(made(), 0.6, (0.5, 10.0))
    assert shifts["per_class"].tolist() == [0, 0]
    assert shifts["in_class"].iloc[1] > 0.5
    assert shifts["others"].iloc[1] > 0
    text = words.shift_reading(shifts)
    assert "stays as it is, sample by sample" in text
    assert "changes for up to 2.0" in words.shift_reading(shifts.assign(per_class=0.02))


def test_components_are_densities_in_nats_of_the_mixture_that_selects() -> None:
    losses = made().losses[0, :300] * 2
    x = np.linspace(-2, 9, 20001)
    low, high = cleaning_mixture.component_densities(losses, x)
    step = x[1] - x[0]
    assert (low.sum() * step, high.sum() * step) == pytest.approx((0.8, 0.2), abs=1e-6)
    assert x[low.argmax()] == pytest.approx(losses[:240].mean(), abs=1e-3)
    assert x[high.argmax()] == pytest.approx(losses[240:].mean(), abs=1e-3)


def test_panels_count_right_and_wrong_labels_and_mark_the_highest_clean_loss() -> None:
    probed = made()
    panels = cleaning_mixture.class_panels(probed, 0.6)
    assert [panel.name for panel in panels] == ["a", "b", "c"]
    assert [(p.right.sum(), p.wrong.sum()) for p in panels] == [(240, 60), (48, 12), (32, 8)]
    first = panels[0]
    assert first.cut == probed.losses[0, :240].max()
    assert first.purity == 1
    width = first.edges[1] - first.edges[0]
    area = (first.low + first.high).mean() * np.ptp(first.x)
    assert area == pytest.approx(300 * width, rel=0.1)  # some of it lies beyond


def test_a_class_too_small_for_a_mixture_has_no_curves() -> None:
    panel = cleaning_mixture._panel("x", np.array([1.0, 2, 3]), np.zeros(3, bool), np.ones(3, bool))
    assert panel.low.size == 0
    assert panel.cut == 3


def test_gaps_are_samples_dropped_below_one_that_is_kept() -> None:
    probed = made()
    assert cleaning_mixture.cut_facts(probed, 0.6) == {"mixtures": 6, "unfinished": 0, "gaps": 0}
    draws = np.random.default_rng(0)
    # A wide low component and a narrow high one: far above both, the wide one is likelier again.
    losses = np.concatenate([draws.normal(3, 1.5, 300), draws.normal(6, 0.1, 300), [10.0]])
    y = np.zeros(601, dtype=np.int64)
    labels = SimpleNamespace(y_noisy=y, flipped=y > 0, noise_type="symmetric", noise_rate=0.2)
    one = cleaning.Probed(SimpleNamespace(n_classes=1), (labels,), (0,), losses[None], np.zeros(1))
    fitted = fit_mixture(scale_to_unit(probed_tensor(losses)))
    assert fitted.variances[0] > fitted.variances[1]
    facts = cleaning_mixture.cut_facts(one, 0.6)
    assert facts["gaps"] == 1
    assert facts["unfinished"] == int(not fitted.converged)


def probed_tensor(values: np.ndarray):
    import torch

    return torch.as_tensor(values)


def test_classes_have_what_is_kept_and_what_it_is_worth() -> None:
    frame = cleaning_mixture.class_frame(made(10.0), 0.6).set_index(["way", "class"])
    assert frame.loc[
        ("class", "b"), ["images", "observed", "before", "clean", "kept", "purity"]
    ].tolist() == ([48 + 60, 60, 0.8, 48, 1, 1])
    assert frame.loc[("pooled", "b"), "kept"] == 0
    assert np.isnan(frame.loc[("pooled", "b"), "purity"])


def test_expected_union_by_enumeration() -> None:
    pairs = [set(pair) for pair in combinations(range(4), 2)]
    sizes = [len(a | b) for a in pairs for b in pairs]
    mean, variance = cleaning_draw.expected_union(np.array([4, 2, 1]), 2, 2)
    assert (mean[0], variance[0]) == pytest.approx((np.mean(sizes), np.var(sizes)))
    assert (mean[1], variance[1]) == (2, 0)  # all are drawn
    once, spread = cleaning_draw.expected_union(np.array([7]), 3, 1)
    assert (once[0], spread[0]) == pytest.approx((3, 0), abs=1e-9)


def test_draws_have_n_of_every_class_and_reach_what_is_expected() -> None:
    probed = made(seeds=tuple(range(12)))
    frame = cleaning_draw.union_frame(probed, 0.6, 4)
    assert len(frame) == 12 * 3 * 4
    assert set(frame["n"]) == {32}
    first = frame[frame["draws"] == 1]
    assert (first["union"] == 32).all()
    facts = cleaning_draw.union_facts(frame)
    assert facts["lost"] == pytest.approx(1 - 96 / 320)
    assert abs(facts["z"]) < 4
    expected = (240 * (1 - (1 - 32 / 240) ** 4) + 48 * (1 - (1 / 3) ** 4) + 32) / 320
    assert facts["expected"] == pytest.approx(expected)
    assert facts["union"] == pytest.approx(expected, abs=0.02)
    assert facts["smallest"] == 1
    assert facts["largest"] == pytest.approx(1 - (1 - 32 / 240) ** 4, abs=0.03)


def test_small_classes_are_clean_as_a_whole_below_four_samples() -> None:
    small = cleaning_draw.small_frame(made(), 0.6, (1, 3, 4, 20, 50), cuts=10).set_index("size")
    assert small.loc[[1, 3], "share"].tolist() == [1, 1]
    assert small.loc[1, ["low", "high", "floor"]].tolist() == [1, 1, 0]
    assert small.at[3, "drawn"] == pytest.approx(9 / 320)  # three of three classes
    assert small.at[1, "purity"] == pytest.approx(0.8, abs=0.15)
    assert small.at[20, "purity"] > 0.99
    assert small["classes"].tolist() == [6, 6, 6, 6, 4, 6]  # 40 samples are fewer than 50
    whole = small.loc[0]
    assert whole[["share", "purity", "before"]].tolist() == pytest.approx([0.8, 1, 0.8])
    assert whole["drawn"] == pytest.approx(96 / 320)


def test_the_floor_keeps_one_sample_where_no_posterior_exceeds_tau() -> None:
    small = cleaning_draw.small_frame(made(), 1.0, (8,), cuts=5).set_index("size")
    assert small.loc[8, ["floor", "low", "high"]].tolist() == [1, 1, 1]
    assert "had to keep a class in up to 100.0" in words.small_reading(small.reset_index(), 4)


def test_texts_follow_the_numbers() -> None:
    probed = made()
    cuts = {"mixtures": 6, "unfinished": 2, "gaps": 0}
    classes = cleaning_mixture.class_frame(probed, 0.6)
    text = words.mixture_reading(classes, cuts)
    assert "always a threshold" in text
    assert "most of the clean set is wrong" not in text
    text = words.mixture_reading(classes.assign(purity=0.4), cuts | {"gaps": 3})
    assert "In 3 of 3 classes most of the clean set is wrong (a, b, c)" in text
    assert "no mere threshold in 3 of 6" in text

    ways = words.ways_frame(made(10.0), 0.6)
    assert ways["recall_right"].tolist() == pytest.approx([48 / 320] * 2)
    assert "keep more right labels in 1" in words.ways_reading(ways, "symmetric", 0.2)
    clear = ways.assign(purity=[0.1, 0.101])
    assert "The clean set is purer." in words.ways_reading(clear, "symmetric", 0.2)
    impure = clear.assign(purity=-clear["purity"])
    assert "The clean set is less pure." in words.ways_reading(impure, "symmetric", 0.2)
    assert "neither" in words.ways_reading(ways.assign(purity=[0.1, -0.1]), "symmetric", 0.2)

    swept = cleaning.sweep(probed, [0.4, 0.6])
    text = words.rates_reading(swept, 32)
    assert "of 20\N{NO-BREAK SPACE}% 80 and 100" in text
    assert "from 32 to 32" in text
    assert "made of wrong labels" not in text
    assert "The rarest class has 31 images. A larger n is made of wrong labels" in words.rates_reading(
        swept, 31
    )
    assert "From tau 0.4 to 0.6" in words.taus_reading(swept)
    assert set(words.rate_lines(swept)["line"]) == {"Symmetric noise"}
    assert set(words.tau_lines(swept, 0.2)["line"]) == {"symmetric 20\N{NO-BREAK SPACE}%"}

    facts = cleaning_draw.union_facts(cleaning_draw.union_frame(probed, 0.6, 2))
    measured = {"redraws": 2, "live_purity": 1.0, "live_purity_drawn": 0.5}
    assert "2 draws from the same clean set" in words.draw_reading(facts, measured)

    small = pd.DataFrame(
        {
            "size": [2, 4, 0],
            "share": 0.5,
            "purity": [0.3, 0.6, 0.7],
            "before": 0.4,
            "floor": 0.0,
            "drawn": 0.1,
        }
    )
    assert "even so few are purer" in words.small_reading(small, 4)
    assert "never had to keep" in words.small_reading(small, 4)
    assert "so few are not purer" in words.small_reading(small.assign(purity=0.3), 4)
    assert "No class of this page has more" in words.small_reading(small[small["size"] != 4], 4)


def test_facts_are_those_of_the_chosen_condition() -> None:
    params = CleaningParameters(noise_rate=0.2, seeds=[0, 1])
    facts = words.live_facts(made(), made(), params)
    assert facts["condition"] == "HAM10000 with symmetric 20\N{NO-BREAK SPACE}% noise"
    assert facts["source"] == "HAM10000, deit_tiny, symmetric 20\N{NO-BREAK SPACE}%, tau 0.6, 2 runs."
    assert (facts["live_purity"], facts["live_right"], facts["live_share"]) == pytest.approx((1, 0.8, 0.8))
