"""The bootstrap of the overlap against loops that copy rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from noisylib.analysis.overlap import ESTIMATORS, loss_histogram, overlap
from noisylib.analysis.overlap_bootstrap import OverlapEstimate, bootstrap_overlap, unit_draws
from noisylib.errors import NoisylibError
from noisylib.seeding import numpy_generator

N, DRAWS = 300, 40


@pytest.fixture
def runs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return losses and flips of three runs on the same images, and the lesions of the images."""
    rng = np.random.default_rng(4)
    flipped = rng.random((3, N)) < 0.4
    lesion = rng.integers(0, 120, N)
    return np.exp(rng.standard_normal((3, N)) + flipped), flipped, np.array([f"lesion {i}" for i in lesion])


def summary(value: float, drawn: np.ndarray, level: float = 0.95) -> list[float]:
    """Return value, corrected, se, low, high of a list of draws, as the class describes them."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return [value, 2 * value - drawn.mean(), drawn.std(ddof=1), 2 * value - high, 2 * value - low]


def numbers(estimate: OverlapEstimate) -> list[float]:
    return [estimate.value, estimate.corrected, estimate.se, estimate.low, estimate.high]


def copied_rows(groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return for each draw the rows of all drawn groups, one after the other, as often as drawn."""
    names = np.unique(groups)
    times = np.concatenate(list(unit_draws(len(names), DRAWS, seed, 7))).astype(int)
    rows = []
    for draw in times:
        drawn = np.repeat(names, draw)
        rows.append(np.concatenate([np.flatnonzero(groups == name) for name in drawn]))
    return rows


def histogram_value(x: np.ndarray, flipped: np.ndarray, edges: np.ndarray) -> float:
    """Return the shared mass in fixed bins by np.histogram."""
    cells = np.r_[-np.inf, edges[:-1], np.nextafter(edges[-1], np.inf), np.inf]
    clean, noisy = (np.histogram(x[group], cells)[0] / group.sum() for group in (~flipped, flipped))
    return float(np.minimum(clean, noisy).sum())


def test_histogram_with_groups_is_a_loop_that_copies_rows(runs: tuple[np.ndarray, ...]) -> None:
    losses, flipped, groups = runs[0][0], runs[1][0], runs[2]
    edges = loss_histogram(losses, flipped).edges
    drawn = [histogram_value(np.log(losses[r]), flipped[r], edges) for r in copied_rows(groups, 5)]
    estimate = bootstrap_overlap(losses, flipped, groups=groups, draws=DRAWS, seed=5)
    np.testing.assert_allclose(
        numbers(estimate), summary(overlap(losses, flipped), np.array(drawn)), rtol=1e-10
    )
    assert (estimate.n_clean, estimate.n_flipped) == ((~flipped).sum(), flipped.sum())


def test_ks_with_groups_is_a_loop_that_copies_rows(runs: tuple[np.ndarray, ...]) -> None:
    losses, flipped, groups = runs[0][0], runs[1][0], runs[2]
    drawn = [overlap(losses[r], flipped[r], "ks") for r in copied_rows(groups, 5)]
    estimate = bootstrap_overlap(
        losses, flipped, groups=groups, draws=DRAWS, seed=5, estimator="ks", level=0.8
    )
    expected = summary(overlap(losses, flipped, "ks"), np.array(drawn), 0.8)
    np.testing.assert_allclose(numbers(estimate), expected, rtol=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_runs_share_the_draw_of_images_and_are_drawn_too(
    estimator: str, runs: tuple[np.ndarray, ...]
) -> None:
    losses, flipped, groups = runs
    unit = np.unique(groups, return_inverse=True)[1]
    times = np.concatenate(list(unit_draws(unit.max() + 1, DRAWS, 0, DRAWS)))
    per_run = np.array(
        [
            [overlap(x, f, estimator, weights=t[unit]) for t in times]
            for x, f in zip(losses, flipped, strict=True)
        ]
    )
    chosen = numpy_generator("overlap-bootstrap-runs", 3, 0).integers(3, size=(DRAWS, 3))
    drawn = np.array([per_run[c, draw].mean() for draw, c in enumerate(chosen)])
    value = np.mean([overlap(x, f, estimator) for x, f in zip(losses, flipped, strict=True)])
    estimate = bootstrap_overlap(losses, flipped, estimator=estimator, groups=groups, draws=DRAWS)
    np.testing.assert_allclose(numbers(estimate), summary(value, drawn), rtol=1e-9)
    assert estimate.n_flipped == pytest.approx(flipped.sum() / 3)
    assert estimate.n_clean + estimate.n_flipped == pytest.approx(N)


def test_equal_runs_are_one_run(runs: tuple[np.ndarray, ...]) -> None:
    losses, flipped, groups = runs[0][:1], runs[1][:1], runs[2]
    one = bootstrap_overlap(losses[0], flipped[0], groups=groups, draws=DRAWS)
    assert one == bootstrap_overlap(losses, flipped, groups=groups, draws=DRAWS)
    three = bootstrap_overlap(losses.repeat(3, 0), flipped.repeat(3, 0), groups=groups, draws=DRAWS)
    np.testing.assert_allclose(numbers(three), numbers(one), rtol=1e-12)


def test_drawing_cells_is_drawing_samples(runs: tuple[np.ndarray, ...]) -> None:
    """Without groups, one run is drawn cell by cell: the same distribution as sample by sample."""
    losses, flipped = runs[0][0], runs[1][0]
    fast = bootstrap_overlap(losses, flipped, draws=8000)
    slow = bootstrap_overlap(losses, flipped, draws=8000, groups=np.arange(N))
    assert fast.se == pytest.approx(slow.se, rel=0.05)  # 4.5 standard errors of an se from 8000 draws
    assert fast.corrected == pytest.approx(slow.corrected, abs=6 * fast.se / np.sqrt(8000))
    assert fast.low == pytest.approx(slow.low, abs=0.15 * fast.se)
    assert fast.high == pytest.approx(slow.high, abs=0.15 * fast.se)


def test_correction_and_coverage_on_normals() -> None:
    """Overlap 2 Phi(-1/2): the plain value is too small, the corrected one not; intervals mostly hold it."""
    rng = np.random.default_rng(7)
    flipped, exact = np.arange(5000) >= 3000, 2 * ndtr(-0.5)
    samples = (np.exp(rng.standard_normal(5000) + flipped) for _ in range(100))
    estimates = [bootstrap_overlap(x, flipped, draws=100) for x in samples]
    plain = np.array([e.value for e in estimates])
    corrected = np.array([e.corrected for e in estimates])
    assert plain.mean() < exact - 4 * plain.std() / 10
    assert abs(corrected.mean() - exact) < 3 * corrected.std() / 10
    assert 0.82 < np.mean([e.low <= exact <= e.high for e in estimates]) < 0.97
    assert np.mean([e.se for e in estimates]) == pytest.approx(corrected.std(), rel=0.25)


def test_groups_widen_the_interval() -> None:
    """Four copies of each image: drawn together they are as good as one, so the error is twice as large."""
    rng = np.random.default_rng(6)
    flipped = rng.random(500) < 0.4
    losses = np.exp(rng.standard_normal(500) + flipped)
    alone = bootstrap_overlap(losses.repeat(4), flipped.repeat(4), estimator="kde", draws=400)
    whole = bootstrap_overlap(
        losses.repeat(4), flipped.repeat(4), estimator="kde", draws=400, groups=np.arange(500).repeat(4)
    )
    assert whole.se == pytest.approx(2 * alone.se, rel=0.2)


def test_seeds_blocks_and_levels(runs: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    losses, flipped = runs[0][0], runs[1][0]
    for groups in (None, runs[2]):
        first = bootstrap_overlap(losses, flipped, draws=DRAWS, groups=groups)
        assert first != bootstrap_overlap(losses, flipped, draws=DRAWS, groups=groups, seed=1)
        narrow = bootstrap_overlap(losses, flipped, draws=DRAWS, groups=groups, level=0.5)
        assert first.low < narrow.low < narrow.high < first.high
        with monkeypatch.context() as patch:
            patch.setattr("noisylib.analysis.overlap_bootstrap.BLOCK", 1000)
            assert first == bootstrap_overlap(losses, flipped, draws=DRAWS, groups=groups)


def test_constant_losses_have_no_uncertainty() -> None:
    flipped = np.arange(20) >= 12
    assert bootstrap_overlap(np.ones(20), flipped, draws=50) == OverlapEstimate(1, 1, 0, 1, 1, 12, 8)


def test_draws_without_a_group_are_left_out() -> None:
    """One flipped image among 50: a third of the draws miss it, and have no overlap."""
    for groups in (None, np.arange(50)):
        estimate = bootstrap_overlap(np.ones(50), np.arange(50) == 0, draws=200, groups=groups)
        assert numbers(estimate) == [1, 1, 0, 1, 1]


def test_too_few_draws_with_both_groups() -> None:
    """Two images and two draws: with one seed of four, both draws hold both images."""
    with pytest.raises(NoisylibError, match=r"\d of 2 draws hold a clean and a flipped sample"):
        [bootstrap_overlap(np.ones(2), np.array([False, True]), draws=2, seed=seed) for seed in range(20)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": 1}, "draws=1"),
        ({"draws": 10.0}, "draws=10.0"),
        ({"level": 1.0}, r"level=1\.0"),
        ({"level": 0}, "level=0"),
        ({"estimator": "hist"}, "estimator='hist' is unknown"),
        ({"groups": np.zeros(3)}, "groups has shape"),
        ({"groups": np.zeros(N)}, "one group only"),
        ({"flipped": np.zeros(N, bool)}, "flipped marks 0"),
        ({"flipped": np.zeros((2, N), bool)}, r"losses has shape \(1, 300\) and flipped"),
        ({"losses": np.full(N, np.nan)}, "NaN or negative"),
        ({"losses": np.ones((0, N)), "flipped": np.ones((0, N), bool)}, r"\(0, 300\)"),
        ({"losses": np.float64(1), "flipped": np.bool_(True)}, "shape"),
    ],
)
def test_errors(change: dict[str, object], message: str) -> None:
    given = {"losses": np.ones(N), "flipped": np.arange(N) < 100} | change
    with pytest.raises(NoisylibError, match=message):
        bootstrap_overlap(**given)
