"""Reduced banks: principal components of the training split, evenly rotated, and the projection kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from _tiny_extraction import TINY, tiny_backbone, tiny_images
from typer.testing import CliRunner

from noisylib import cli
from noisylib.errors import BankError, NoisylibError
from noisylib.features import BankMeta, FeatureBank, extract
from noisylib.features.extract import extract_features
from noisylib.features.reduce import project, reduce_bank

META = BankMeta("made", "wide", preprocessing={"model": "a model"}, command="the command")
N_TRAIN, N_TEST, D0 = 60, 20, 6
# Of unequal variance and correlated, off centre, and of scales that differ by a hundred.
MIX = np.triu(np.linspace(0.3, 2, D0 * D0).reshape(D0, D0)) * np.geomspace(0.1, 10, D0)


def wide(features: np.ndarray | None = None, **changes) -> FeatureBank:
    """Return a bank of six features, two classes, 60 training and 20 test samples."""
    if features is None:
        features = np.random.default_rng(0).normal(size=(N_TRAIN + N_TEST, D0)) @ MIX + np.arange(D0)
    n, n_train = len(features), len(features) * 3 // 4
    split = np.repeat([0, 2], [n_train, n - n_train])
    groups = changes.pop("groups", None)
    return FeatureBank.from_arrays(features, np.arange(n) % 2, split, ["a", "b"], META, groups, **changes)


def z_scored(bank: FeatureBank) -> np.ndarray:
    """Return all features (N, D) in standard deviations of the training split."""
    train = bank.part("train")[0].astype(np.float64)
    return (bank.features.astype(np.float64) - train.mean(0)) / train.std(0)


def spectrum(bank: FeatureBank) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues, largest first, and eigenvectors (columns) of the training correlation matrix."""
    Z = z_scored(bank)[bank.indices("train")]
    values, vectors = np.linalg.eigh(Z.T @ Z / len(Z))
    return values[::-1], vectors[:, ::-1]


def distances(X: np.ndarray) -> np.ndarray:
    return np.linalg.norm(X[:, None] - X[None], axis=-1)


def test_two_features_by_hand():
    """Their components are their sum and difference; the sum and difference of those are they themselves."""
    # Mean (1, 20), deviation (1, 10), correlation 1/3: four of six training rows agree, two do not.
    train = [[0, 10], [2, 30], [0, 10], [2, 30], [0, 30], [2, 10]]
    bank = wide(np.array([*train, [3, 20], [1, 50]]))
    reduced = reduce_bank(bank, 2)
    assert reduced.projection[0].tolist() == [1, 20]
    directions = np.abs(reduced.projection[1:].astype(np.float64))
    np.testing.assert_allclose(directions[np.argsort(directions[:, 1])], [[1, 0], [0, 0.1]], atol=1e-3)
    # In deviations, whatever the signs: one from each mean, and the test rows 2 and 0, 0 and 3.
    expected = [[1, 1]] * 6 + [[0, 2], [0, 3]]
    np.testing.assert_allclose(np.sort(np.abs(reduced.features), axis=1), expected, atol=5e-3)
    assert reduced.meta.preprocessing["reduction"]["explained_variance"] == 1
    # One component is the sum, of variance 1 + 1/3 among 2.
    alone = reduce_bank(bank, 1)
    assert alone.meta.preprocessing["reduction"]["explained_variance"] == pytest.approx(2 / 3, abs=1e-4)
    sums = np.array([-2, 2, -2, 2, 0, 0, 2, 3]) / np.sqrt(2)
    found = alone.features[:, 0] * np.sign(alone.features[1, 0])
    np.testing.assert_allclose(found, sums, atol=5e-3)


@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_features_are_the_stored_projection_of_the_original_ones(n_components):
    bank = wide(groups=np.arange(80))
    reduced = reduce_bank(bank, n_components)
    assert reduced.features.shape == (80, n_components)
    assert reduced.projection.shape == (1 + n_components, D0)
    mean, directions = reduced.projection[0].astype(np.float64), reduced.projection[1:].astype(np.float64)
    by_hand = (bank.features.astype(np.float64) - mean) @ directions.T
    np.testing.assert_allclose(reduced.features, by_hand, rtol=2e-3, atol=2e-3)
    assert np.array_equal(reduced.features, project(bank.features, reduced.projection).astype(np.float16))
    for name in ("labels", "split", "groups"):
        assert np.array_equal(getattr(reduced, name), getattr(bank, name))
    assert reduced.class_names == bank.class_names


def test_views_are_projected_like_the_features():
    views = np.random.default_rng(1).normal(size=(3, N_TRAIN, D0))
    bank = wide(views=views)
    reduced = reduce_bank(bank, 4)
    assert np.array_equal(reduced.projection, reduce_bank(wide(), 4).projection)
    for before, after in zip(bank.views, reduced.views, strict=True):
        assert np.array_equal(after, project(before, reduced.projection).astype(np.float16))


def test_the_training_split_alone_decides():
    bank = wide()
    features = bank.features.copy()
    features[N_TRAIN:] = 7 - 3 * features[N_TRAIN:]
    other = wide(features)
    one, two = reduce_bank(bank, 4), reduce_bank(other, 4)
    assert np.array_equal(one.projection, two.projection)
    assert np.array_equal(one.part("train")[0], two.part("train")[0])
    assert not np.array_equal(one.part("test")[0], two.part("test")[0])
    features = bank.features.copy()
    features[:N_TRAIN] = features[:N_TRAIN, ::-1]
    assert not np.array_equal(reduce_bank(wide(features), 4).projection, one.projection)


@pytest.mark.parametrize("n_components", [2, 4])
def test_all_features_have_the_mean_of_the_eigenvalues_as_variance(n_components):
    bank = wide()
    kept = spectrum(bank)[0][:n_components]
    assert kept[0] > 1.5 * kept[-1]  # of components, variances would differ
    X = reduce_bank(bank, n_components).part("train")[0].astype(np.float64)
    np.testing.assert_allclose(X.mean(0), 0, atol=5e-3)
    np.testing.assert_allclose(X.var(0), kept.mean(), rtol=5e-3)


def test_z_scored_distances_are_those_of_the_components_times_one_factor():
    bank = wide()
    values, vectors = spectrum(bank)
    components = z_scored(bank) @ vectors[:, :4]
    found = distances(z_scored(reduce_bank(bank, 4)))
    expected = distances(components) / np.sqrt(values[:4].mean())
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)
    # Whitened components, which a z-score of the components themselves would give, are something else.
    whitened = distances(components / np.sqrt(values[:4]))
    assert np.abs(found - whitened).max() > 0.5


def test_record_says_what_was_done_and_how_much_is_kept():
    bank = wide()
    values, _ = spectrum(bank)
    reduced = reduce_bank(bank, 2)
    reduction = reduced.meta.preprocessing["reduction"]
    assert reduction["explained_variance"] == pytest.approx(values[:2].sum() / values.sum(), abs=1e-4)
    assert reduction["explained_variance"] < 0.99
    assert (reduction["n_components"], reduction["original_features"]) == (2, D0)
    assert reduction["original_checksum"] == bank.checksum
    assert replace(reduced.meta, preprocessing=bank.meta.preprocessing) == bank.meta
    assert reduced.meta.preprocessing["model"] == "a model"
    assert reduce_bank(wide(), 2).checksum == reduced.checksum


def test_a_constant_feature_has_no_part_in_it():
    features = wide().features.astype(np.float64)
    features[:, 3] = 5
    bank = wide(features)
    reduced = reduce_bank(bank, 4)
    assert (reduced.projection[1:, 3] == 0).all()
    assert reduced.projection[0, 3] == 5
    without = reduce_bank(wide(np.delete(features, 3, axis=1)), 4)
    np.testing.assert_allclose(distances(reduced.features), distances(without.features), atol=2e-2)
    features[N_TRAIN:, 3] = 500  # unseen in training, so it is ignored and not magnified
    assert np.array_equal(reduce_bank(wide(features), 4).features, reduced.features)


@pytest.mark.parametrize("n_components", [-1, 0, 3, 6, 8, 12])
def test_numbers_of_components_that_cannot_be(n_components):
    with pytest.raises(NoisylibError, match=rf"n_components={n_components}: a power of two .* at most 6"):
        reduce_bank(wide(), n_components)


def test_no_more_components_than_training_samples():
    few = FeatureBank.from_arrays(wide().features[:5], [0, 1, 0, 0, 1], [0, 0, 0, 2, 2], ["a", "b"], META)
    with pytest.raises(
        NoisylibError, match=r"n_components=4: .*3 training samples of 6 features .*at most 3"
    ):
        reduce_bank(few, 4)
    empty = FeatureBank.from_arrays(np.ones((4, 2)), [0, 1, 0, 1], [2] * 4, ["a", "b"], META)
    with pytest.raises(NoisylibError, match="0 training samples"):
        reduce_bank(empty, 1)


def test_a_reduced_bank_is_not_reduced_again():
    with pytest.raises(NoisylibError, match=r"bank made-wide has been reduced before, from 6 features to 4"):
        reduce_bank(reduce_bank(wide(), 4), 2)


@pytest.mark.parametrize("shape", [(3, 4), (6,), (2, 3, 6)])
def test_project_names_the_width_it_needs(shape):
    projection = reduce_bank(wide(), 4).projection
    with pytest.raises(BankError, match=r"the projection is for \(n, 6\)"):
        project(np.zeros(shape), projection)


def test_round_trip_and_checksum_hold_the_projection(tmp_path):
    reduced = reduce_bank(wide(), 4)
    reduced.save(tmp_path / "made-wide.safetensors")
    again = FeatureBank.load(tmp_path / "made-wide.safetensors")
    assert again.projection.dtype == np.float16
    assert again.projection.tobytes() == reduced.projection.tobytes()
    assert again.checksum == reduced.checksum
    assert again.meta == reduced.meta
    new = np.random.default_rng(2).normal(size=(5, D0))  # a new image is brought to the same form
    assert np.array_equal(project(new, again.projection), project(new, reduced.projection))
    assert replace(reduced, projection=None).checksum != reduced.checksum
    assert replace(reduced, projection=-reduced.projection).checksum != reduced.checksum


SETTINGS = {"batch_size": 4, "precision": "float32", "progress": False, "shard_images": 8}


@pytest.fixture
def backbone(tmp_path):
    return tiny_backbone(tmp_path)


@pytest.mark.parametrize("views", [0, 2])
def test_components_are_those_of_the_finished_bank(backbone, tmp_path, views):
    images = tiny_images(40)
    whole = extract_features(images, backbone, out=tmp_path / "whole", views=views, **SETTINGS)
    out = tmp_path / "made.safetensors"
    bank = extract_features(images, backbone, out=out, views=views, components=16, **SETTINGS)
    expected = reduce_bank(whole, 16)
    assert (bank.n_features, bank.projection.shape) == (16, (17, 64))
    assert (bank.checksum, bank.meta) == (expected.checksum, expected.meta)
    assert FeatureBank.load(out).checksum == bank.checksum
    assert not list(tmp_path.glob("*.partial"))
    assert whole.projection is None


def test_a_stopped_extraction_can_be_finished_with_components(backbone, tmp_path, monkeypatch):
    """What is kept beside the output are whole features, so it serves both."""
    images, out = tiny_images(40), tmp_path / "made.safetensors"
    reduce, forward = extract.reduce_bank, extract.forward

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(extract, "reduce_bank", stop)
    with pytest.raises(KeyboardInterrupt):
        extract_features(images, backbone, out=out, components=16, **SETTINGS)
    assert not out.exists()
    monkeypatch.setattr(extract, "reduce_bank", reduce)
    monkeypatch.setattr(extract, "forward", lambda *args: pytest.fail("extracted twice"))
    bank = extract_features(images, backbone, out=out, components=8, **SETTINGS)
    monkeypatch.setattr(extract, "forward", forward)
    whole = extract_features(images, backbone, out=tmp_path / "whole", **SETTINGS)
    assert bank.checksum == reduce_bank(whole, 8).checksum


@pytest.mark.parametrize("components", [-1, 3, 16, 128])
def test_components_that_cannot_be_are_refused_before_the_work(backbone, tmp_path, monkeypatch, components):
    monkeypatch.setattr(extract, "forward", lambda *args: pytest.fail("extracted in vain"))
    words = rf"n_components={components}: a power of two .* 10 training samples of 64 features .* at most 10"
    with pytest.raises(NoisylibError, match=words):
        extract_features(tiny_images(20), backbone, out=tmp_path / "a.safetensors", components=components)
    assert not list(tmp_path.glob("a*"))


def test_command_reduces_and_records_it(tmp_path, monkeypatch):
    tiny_backbone(tmp_path)
    monkeypatch.setattr("noisylib.data.load_images", lambda name, root, **more: tiny_images(40))
    monkeypatch.setattr(extract, "load_backbone", lambda name, path, *_: tiny_backbone(Path(path).parent))
    arguments = ["features", "extract", "breastmnist", "--data", str(tmp_path / "mnist")]
    arguments += ["--backbone", TINY.name, "--weights", str(tmp_path / "tiny.safetensors"), "--device", "cpu"]
    arguments += ["--out", str(tmp_path / "a.safetensors"), "--precision", "float32", "--components", "8"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert "40 images, 8 features each: made-test_vit" in result.output
    bank = FeatureBank.load(tmp_path / "a.safetensors")
    assert bank.projection.shape == (9, 64)
    assert bank.meta.command == (
        "noisylib features extract breastmnist --backbone test_vit --data DATA/mnist "
        "--weights tiny.safetensors --components 8 --batch-size 64 --precision float32"
    )


def test_a_feature_that_is_all_but_constant_does_not_leave_the_range_of_float16():
    features = np.random.default_rng(0).normal(size=(N_TRAIN + N_TEST, D0))
    features[:, 2] = 0
    features[5, 2] = 1e-5  # a standard deviation of 1e-6, and so a direction of 2e5 and more
    reduced = reduce_bank(wide(features), 4)
    assert np.abs(reduced.projection[1:, 2]).max() == np.finfo(np.float16).max
    assert np.abs(reduced.features).max() < 20
