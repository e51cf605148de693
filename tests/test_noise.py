"""Label noise against counts and matrices worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from noisylib.data.catalog import dataset_info
from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.noise import blend, exact_counts, inject, inject_matrix, max_rate, told, transition_matrix

Y = np.repeat(np.arange(4), [40, 20, 10, 5])
MAP = {0: 1, 1: 0, 3: 2}


def test_symmetric_matrix_by_hand() -> None:
    expected = np.array(
        [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.1, 0.1, 0.1, 0.7]]
    )
    np.testing.assert_allclose(transition_matrix("symmetric", 0.3, 4), expected)


def test_pairflip_matrix_by_hand() -> None:
    np.testing.assert_allclose(
        transition_matrix("pairflip", 0.4, 3), [[0.6, 0.4, 0], [0, 0.6, 0.4], [0.4, 0, 0.6]]
    )


def test_asymmetric_matrix_leaves_unmapped_classes_alone() -> None:
    expected = [[0.8, 0.2, 0, 0], [0.2, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0.2, 0.8]]
    np.testing.assert_allclose(transition_matrix("asymmetric", 0.2, 4, MAP), expected)


@pytest.mark.parametrize("noise_type", ["symmetric", "pairflip", "asymmetric"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.45])
def test_counts_are_the_rounded_matrix(noise_type: str, rate: float) -> None:
    noise = inject(Y, noise_type, rate, n_classes=4, seed=3, class_map=MAP)
    np.testing.assert_allclose(noise.T.sum(1), 1)
    counts = np.zeros((4, 4))
    for t, n in zip(Y, noise.y_noisy, strict=True):
        counts[t, n] += 1
    np.testing.assert_array_equal(noise.class_counts, counts)
    assert (np.abs(counts - noise.T * np.bincount(Y)[:, None]) < 1).all()
    np.testing.assert_array_equal(noise.flipped, noise.y_noisy != Y)
    np.testing.assert_allclose(noise.realised_T, counts / counts.sum(1, keepdims=True))
    assert noise.realised_rate == (counts.sum() - np.trace(counts)) / 75
    if rate == 0:
        np.testing.assert_array_equal(noise.y_noisy, Y)


def test_exact_counts_where_nothing_is_rounded() -> None:
    noise = inject(Y, "asymmetric", 0.4, n_classes=4, seed=0, class_map=MAP)
    np.testing.assert_array_equal(
        noise.class_counts, [[24, 16, 0, 0], [8, 12, 0, 0], [0, 0, 10, 0], [0, 0, 2, 3]]
    )
    np.testing.assert_allclose(noise.purity, [24 / 32, 12 / 28, 10 / 12, 1])
    row = noise.purity_table(("a", "b", "c", "d"))[1]
    assert row == {
        "class": "b",
        "true": 20,
        "labelled": 28,
        "flipped_out": 8,
        "flipped_in": 16,
        "purity": 12 / 28,
    }


def test_purity_of_a_class_nobody_is_labelled_with_is_nan() -> None:
    noise = inject(np.array([0, 0, 2, 2]), "symmetric", 0.0, n_classes=3, seed=0)
    assert np.isnan(noise.purity[1])
    np.testing.assert_allclose(noise.purity[[0, 2]], 1)
    np.testing.assert_allclose(noise.realised_T, np.eye(3))


def test_remainders_are_shared_out_fairly() -> None:
    """One flip among four equal targets lands on each of them about equally often."""
    landed = np.zeros(5)
    for seed in range(400):
        landed += exact_counts(1, np.array([0, 0.25, 0.25, 0.25, 0.25]), 0, np.random.default_rng(seed))
    assert landed[0] == 0
    # Binomial(400, 1/4): mean 100, standard deviation 8.7.
    assert (np.abs(landed[1:] - 100) < 4 * 8.7).all()


@pytest.mark.parametrize(("n", "rate", "flips"), [(10, 0.3, 3), (5, 0.3, 1), (45, 0.3, 13), (7, 0.4, 3)])
def test_the_number_of_flips_does_not_depend_on_the_seed(n: int, rate: float, flips: int) -> None:
    """Ties (1.5 of 5, 13.5 of 45) keep the true label, though 45 x 0.7 is 31.499999999999996 here."""
    y = np.array([0] * n + [1] * 4)
    for seed in range(20):
        noise = inject(y, "symmetric", rate, n_classes=2, seed=seed)
        assert noise.class_counts[0].tolist() == [n - flips, flips]


def test_draw_depends_on_its_four_names_only() -> None:
    def draw(**changes):
        arguments = {"noise_type": "symmetric", "noise_rate": 0.3, "seed": 1, "dataset": "a", **changes}
        return inject(Y, n_classes=4, **arguments).y_noisy

    np.testing.assert_array_equal(draw(), draw())
    for change in ({"seed": 2}, {"dataset": "b"}, {"noise_rate": 0.31}, {"noise_type": "pairflip"}):
        assert (draw() != draw(**change)).any(), change
    np.random.seed(0)  # noqa: NPY002 - global state must not matter
    np.testing.assert_array_equal(draw(), draw())


def test_flips_inside_a_class_are_uniform() -> None:
    hits = sum(inject(Y, "pairflip", 0.4, n_classes=4, seed=s).flipped[:40] for s in range(300))
    # Each of 40 samples is flipped with probability 0.4: mean 120, deviation 8.5 over 300 seeds.
    assert (np.abs(hits - 120) < 4.5 * 8.5).all()


X = np.random.default_rng(0).normal(size=(20_000, 8))
Y_LONG = np.random.default_rng(1).integers(0, 4, 20_000)


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.6])
def test_instance_noise_has_the_asked_rate(rate: float) -> None:
    noise = inject(Y_LONG, "instance", rate, n_classes=4, seed=0, features=X)
    # q_i has deviation of at most 0.1 around the rate, so a flip is Bernoulli(rate).
    assert abs(noise.realised_rate - rate) < 4 * np.sqrt(rate * (1 - rate) / 20_000)


def test_instance_noise_depends_on_the_features_and_a_flip_is_a_flip() -> None:
    hot = inject(Y_LONG, "instance", 0.4, n_classes=4, seed=0, features=X, temperature=30)
    again = inject(
        Y_LONG, "instance", 0.4, n_classes=4, seed=0, features=np.roll(X, 1, axis=0), temperature=30
    )
    assert (hot.y_noisy != again.y_noisy).any()
    # At a high temperature the target of a flip is almost a function of (x, y): duplicates agree.
    twins, labels = np.repeat(X[:300], 10, axis=0), np.repeat(Y_LONG[:300], 10)
    noise = inject(labels, "instance", 0.6, n_classes=4, seed=0, features=twins, temperature=300)
    targets = [set(noise.y_noisy[i : i + 10][noise.flipped[i : i + 10]]) for i in range(0, 3000, 10)]
    assert np.mean([len(t) <= 1 for t in targets]) > 0.95
    clean = inject(Y_LONG, "instance", 0.0, n_classes=4, seed=0, features=X)
    assert not clean.flipped.any()


def test_human_labels_are_measured_not_drawn() -> None:
    y, people = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    noise = inject(y, "human", 0.0, n_classes=2, seed=0, y_human=people)
    np.testing.assert_array_equal(noise.y_noisy, people)
    np.testing.assert_allclose(noise.T, [[1 / 2, 1 / 2], [1 / 3, 2 / 3]])
    assert noise.realised_rate == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("noise_type", "bound"), [("symmetric", 0.75), ("pairflip", 0.5), ("asymmetric", 0.5)]
)
def test_rates_end_where_the_clean_label_stops_being_the_likeliest(noise_type: str, bound: float) -> None:
    assert max_rate(noise_type, 4) == bound
    inject(Y, noise_type, bound - 0.01, n_classes=4, seed=0, class_map=MAP)
    for rate in (bound, 1.0, -0.1, float("nan"), 40):
        with pytest.raises(NoisylibError, match="is outside"):
            inject(Y, noise_type, rate, n_classes=4, seed=0, class_map=MAP)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_classes": 1, "y_true": np.zeros(3, int)}, "at least 2 classes"),
        ({"n_classes": 3}, r"y_true\[70\]=3 is outside 0..2"),
        ({"y_true": Y - 1}, r"y_true\[0\]=-1"),
        ({"y_true": Y.astype(float)}, "one integer label"),
        ({"y_true": np.array([], int)}, "one integer label"),
        ({"noise_type": "asymmetric"}, "class_map is empty"),
        ({"noise_type": "asymmetric", "class_map": {0: 9}}, "sends 0 to 9"),
        ({"noise_type": "asymmetric", "class_map": {1: 1}}, "sends 1 to 1"),
        ({"noise_type": "instance"}, "features is missing"),
        (
            {"noise_type": "instance", "noise_rate": 0.001, "features": np.ones((75, 2))},
            "from 0.005 to 0.995",
        ),
        ({"noise_type": "instance", "features": np.full((75, 2), np.nan)}, "finite numbers"),
        ({"noise_type": "human"}, "y_human is missing"),
        ({"noise_type": "human", "y_human": Y[:3]}, "3 labels for N=75"),
    ],
)
def test_bad_input_is_named(changes: dict, message: str) -> None:
    arguments = {
        "y_true": Y,
        "noise_type": "symmetric",
        "noise_rate": 0.2,
        "n_classes": 4,
        "seed": 0,
        **changes,
    }
    with pytest.raises(NoisylibError, match=message):
        inject(**arguments)


def test_unknown_type_is_suggested() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'symmetric'"):
        inject(Y, "symetric", 0.2, n_classes=4, seed=0)
    with pytest.raises(NoisylibError, match="no transition matrix"):
        transition_matrix("instance", 0.2, 4)


def test_what_methods_are_told_is_what_was_injected() -> None:
    y = np.repeat([0, 1], 10)
    noise = [inject(y, "asymmetric", rate, n_classes=2, seed=0, class_map={0: 1}) for rate in (0.0, 0.3)]
    facts = told(noise)
    assert facts["noise_rates"] == [0.0, 0.15]
    assert facts["noise_types"] == ["symmetric", "asymmetric"], "no noise has no type"
    np.testing.assert_allclose(facts["transitions"], [np.eye(2), [[0.7, 0.3], [0, 1]]])
    # Of three samples one flips at a rate of .4: what happened is told, and not what was asked for.
    few = told([inject(np.array([0, 0, 0, 1]), "asymmetric", 0.4, n_classes=2, seed=0, class_map={0: 1})])
    np.testing.assert_allclose(few["transitions"], [[[2 / 3, 1 / 3], [0, 1]]])
    assert few["noise_rates"] == [0.25]


def test_any_matrix_is_met_exactly() -> None:
    """Class 2 keeps a fifth of its labels, class 3 none: no rate is out of bounds for a given matrix."""
    T = np.array([[0.5, 0.25, 0.25, 0], [0, 0.9, 0, 0.1], [0.2, 0.2, 0.2, 0.4], [0, 0, 1, 0]])
    noise = inject_matrix(Y, T, seed=0)
    np.testing.assert_array_equal(
        noise.class_counts, [[20, 10, 10, 0], [0, 18, 0, 2], [2, 2, 2, 4], [0, 0, 5, 0]]
    )
    np.testing.assert_array_equal(noise.flipped, noise.y_noisy != Y)
    np.testing.assert_array_equal(noise.T, T)
    np.testing.assert_allclose(noise.realised_T, T)
    np.testing.assert_allclose(noise.purity, [20 / 22, 18 / 30, 2 / 17, 0])
    assert (noise.noise_type, noise.noise_rate) == ("asymmetric", pytest.approx(35 / 75))


@pytest.mark.parametrize("noise_type", ["symmetric", "pairflip", "asymmetric"])
def test_a_nominal_matrix_gives_the_draw_of_its_type(noise_type: str) -> None:
    condition = {"noise_type": noise_type, "noise_rate": 0.3, "seed": 4, "dataset": "a"}
    T = transition_matrix(noise_type, 0.3, 4, MAP)
    ours, theirs = inject_matrix(Y, T, **condition), inject(Y, n_classes=4, class_map=MAP, **condition)
    for name in ("y_noisy", "flipped", "T", "realised_T", "class_counts"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert (ours.noise_type, ours.noise_rate) == (noise_type, 0.3)
    other = inject_matrix(Y, T, **{**condition, "seed": 5})
    assert (other.y_noisy != ours.y_noisy).any()


def test_draws_are_those_of_archived_studies() -> None:
    """Another draw for the same names would part every stored row from its labels."""
    y = np.repeat([0, 1, 2], [5, 3, 2])
    drawn = inject(y, "symmetric", 0.4, n_classes=3, seed=0, dataset="a").y_noisy
    assert drawn.tolist() == [0, 0, 0, 1, 2, 1, 2, 1, 0, 2]
    drawn = inject(y, "asymmetric", 0.4, n_classes=3, seed=1, dataset="a", class_map={0: 1, 2: 0}).y_noisy
    assert drawn.tolist() == [0, 1, 0, 1, 0, 1, 1, 1, 0, 2]


def test_blend_by_hand() -> None:
    pairs = transition_matrix("asymmetric", 0.4, 3, {0: 1, 1: 0, 2: 0})
    uniform = transition_matrix("symmetric", 0.4, 3)
    np.testing.assert_allclose(
        blend(pairs, uniform, 0.75), [[0.6, 0.35, 0.05], [0.35, 0.6, 0.05], [0.35, 0.05, 0.6]]
    )
    np.testing.assert_array_equal(blend(pairs, uniform, 1), pairs)
    np.testing.assert_array_equal(blend(pairs, uniform, 0), uniform)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_blends_flip_the_same_number_of_every_class(share: float) -> None:
    T = blend(
        transition_matrix("asymmetric", 0.4, 4, {0: 3, 3: 0, 1: 0, 2: 1}),
        transition_matrix("symmetric", 0.4, 4),
        share,
    )
    noise = inject_matrix(Y, T, seed=0, noise_rate=0.4)
    assert np.diag(noise.class_counts).tolist() == [24, 12, 6, 3]
    assert noise.realised_rate == 0.4


def test_purity_of_isic_2019_under_its_default_map() -> None:
    """Counts times .6 over what then carries the label: 4522 * .6 / (4522 * .6 + 12875 * .4) = .345, ..."""
    info = dataset_info("isic2019")
    y = np.repeat(np.arange(8), info.class_counts)
    T = transition_matrix("asymmetric", 0.4, 8, info.map_indices())
    purity = dict(zip(info.classes, inject_matrix(y, T, seed=0).purity, strict=True))
    expected = {
        "MEL": 0.345, "NV": 0.81, "BCC": 0.655, "AK": 0.674, "BKL": 0.542, "DF": 0.586, "VASC": 0.614,
        "SCC": 0.521,
    }  # fmt: skip
    # 151.8 of 247.4 are right of VASC; in whole images 152 of 248, which is .613.
    assert purity == pytest.approx(expected, abs=1.5e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"T": np.full((3, 4), 0.25)}, r"T has shape \(3, 4\)"),
        ({"T": np.ones((1, 1))}, "K >= 2"),
        ({"T": np.eye(4) * 0.9}, "rows sum to 1"),
        ({"T": np.array([[0.6, 0.4], [0.0, 1.0]]).T}, "the transpose"),
        ({"T": np.array([[1.5, -0.5], [0.0, 1.0]])}, "probabilities"),
        ({"T": np.full((4, 4), np.nan)}, "probabilities"),
        ({"T": np.eye(3)}, r"y_true\[70\]=3 is outside 0..2"),
        ({"noise_type": "human"}, "noise_type='human' is unknown"),
    ],
)
def test_bad_matrices_are_named(changes: dict, message: str) -> None:
    with pytest.raises(NoisylibError, match=message):
        inject_matrix(**{"y_true": Y, "T": np.eye(4), "seed": 0, **changes})


def test_bad_blends_are_named() -> None:
    with pytest.raises(NoisylibError, match="same K classes"):
        blend(np.eye(3), np.eye(4), 0.5)
    with pytest.raises(NoisylibError, match="T_b must hold"):
        blend(np.eye(3), np.ones((3, 3)), 0.5)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(NoisylibError, match="fraction in"):
            blend(np.eye(3), np.eye(3), share)
