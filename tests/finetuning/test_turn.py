"""TURN's two phases, what moves, and what a training may depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import plain_loop
from tinytuning import WIDTH, K, forgetful, made_images, noisy, recipe, taught, tiny

from noisylib.features.backbones import Backbone
from noisylib.features.pixels import PixelSet
from noisylib.finetuning import FineTuned, Turn, extract, finetune, make_classifier, probe_head
from noisylib.finetuning.network import parameter_groups
from noisylib.methods import make_method
from noisylib.recipe import Recipe
from noisylib.training import train_bank


def tune(pixels: PixelSet, backbone: Backbone, y: np.ndarray | None = None, **options) -> FineTuned:
    rows = pixels.rows("train")
    given = {"n_classes": K, "recipe": recipe(), "device": "cpu", **options}
    return finetune(pixels, rows, noisy(pixels.labels[rows]) if y is None else y, backbone, **given)


def features_of(pixels: PixelSet, backbone: Backbone, split: str = "train") -> np.ndarray:
    return extract(backbone.model, backbone, pixels, pixels.rows(split), precision="float32")


def accuracy(tuned: FineTuned, pixels: PixelSet) -> float:
    test = pixels.rows("test")
    return float((tuned.logits(pixels, test).argmax(1) == pixels.labels[test]).mean())


def same(one: FineTuned, other: FineTuned) -> bool:
    states = (one.classifier.state_dict(), other.classifier.state_dict())
    return all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


def test_probe_is_the_linear_head_of_a_bank_trained_with_gce() -> None:
    pixels, backbone = made_images(), taught()
    rows, test = pixels.rows("train"), pixels.rows("test")
    X, X_test, y = (
        features_of(pixels, backbone),
        features_of(pixels, backbone, "test"),
        noisy(pixels.labels[rows]),
    )
    bank = train_bank(
        X, y, X_test, pixels.labels[test], n_classes=K, method="gce", head="linear", seeds=[5], device="cpu",
        recipe=Recipe(epochs=20),
    )  # fmt: skip
    W, b = probe_head(X, y, K, seed=5, device="cpu")
    np.testing.assert_allclose(X_test @ W.T + b, bank.test_logits[0], rtol=0, atol=2e-5)


def test_probe_is_a_plain_loop_of_gce() -> None:
    pixels, backbone = made_images(), taught()
    X, X_test = features_of(pixels, backbone), features_of(pixels, backbone, "test")
    y = noisy(pixels.labels[pixels.rows("train")])
    history, _ = plain_loop.train(
        X.astype(float), y, X_test.astype(float), {"name": "gce", "q": 0.4}, kind="linear", seed=2, K=K,
        epochs=4, batch_size=128, lr=1e-3, decay=1e-5, decay_at=(0.5, 0.75, 0.9), width=1,
    )  # fmt: skip
    W, b = probe_head(X, y, K, method=make_method("gce", {"q": 0.4}), epochs=4, seed=2, device="cpu")
    np.testing.assert_allclose(X_test @ W.T + b, history[-1], rtol=0, atol=2e-5)


def test_a_constant_feature_moves_no_logit_of_the_probe() -> None:
    X = np.random.default_rng(0).normal(size=(30, 4))
    X[:, 2] = 7.0
    W, b = probe_head(X, np.arange(30) % K, K, epochs=2, device="cpu")
    assert np.isfinite(W).all()
    bank = train_bank(
        X, np.arange(30) % K, X, np.arange(30) % K, n_classes=K, method="gce", head="linear", device="cpu",
        recipe=Recipe(epochs=2, score_epochs=2),
    )  # fmt: skip
    np.testing.assert_allclose(X @ W.T + b, bank.test_logits[0], rtol=0, atol=1e-5)


def test_turn_starts_from_its_probe_and_first_cleans_by_its_losses() -> None:
    """Rates of zero leave what phase II starts from."""
    pixels, backbone = made_images(), taught()
    y = noisy(pixels.labels[pixels.rows("train")])
    still = recipe(lr_backbone=0, lr_head=0, weight_decay=0, epochs=2)
    tuned = tune(pixels, backbone, method=Turn(probe_epochs=7, q=0.5), seed=3, recipe=still)
    X, X_test = features_of(pixels, backbone), features_of(pixels, backbone, "test")
    W, b = probe_head(X, y, K, method=make_method("gce", {"q": 0.5}), epochs=7, seed=3, device="cpu")
    np.testing.assert_allclose(tuned.logits(pixels, pixels.rows("test")), X_test @ W.T + b, rtol=0, atol=1e-5)
    p = torch.softmax(torch.as_tensor(X @ W.T + b), 1).numpy()
    losses = -np.log(p[np.arange(len(y)), y])
    for record in tuned.history:  # recomputed by the same network
        np.testing.assert_allclose(record.selection.losses, losses, rtol=0, atol=1e-5)


def test_losses_are_taken_anew_before_every_epoch_by_the_network_as_it_is() -> None:
    pixels, backbone = made_images(), taught()
    y = noisy(pixels.labels[pixels.rows("train")])
    tuned = tune(pixels, backbone, method="turn", recipe=recipe(epochs=3, schedule="constant"))
    # The first two of three epochs at a constant rate are those of a training of two.
    shorter = tune(pixels, backbone, method="turn", recipe=recipe(epochs=2, schedule="constant", warmup=0.15))
    z = torch.as_tensor(shorter.logits(pixels, pixels.rows("train"))).double()
    expected = torch.nn.functional.cross_entropy(z, torch.as_tensor(y), reduction="none").numpy()
    np.testing.assert_allclose(tuned.history[2].selection.losses, expected, rtol=0, atol=1e-4)
    losses = [record.selection.losses for record in tuned.history]
    assert np.abs(losses[1] - losses[0]).max() > 0.01


def test_dropout_is_on_in_training_and_off_in_cleaning_and_scoring() -> None:
    """At rates of zero the network stays the probe, whatever it forgets in training."""
    pixels, still = made_images(), recipe(lr_backbone=0, lr_head=0, weight_decay=0, epochs=2)
    tuned, plain = (
        tune(pixels, backbone, method="turn", recipe=still) for backbone in (forgetful(), taught())
    )
    for mine, its in zip(tuned.history, plain.history, strict=True):
        np.testing.assert_allclose(mine.selection.losses, its.selection.losses, rtol=0, atol=1e-5)
        drawn = its.selection.drawn
        assert its.loss == pytest.approx(its.selection.losses[drawn].mean(), abs=1e-5)
        assert abs(mine.loss - its.loss) > 1e-3, "dropout changes the loss of a step"
    test = pixels.rows("test")
    np.testing.assert_allclose(tuned.logits(pixels, test), plain.logits(pixels, test), rtol=0, atol=1e-5)


def test_each_epoch_trains_on_what_was_drawn_and_counts_it() -> None:
    pixels = made_images()
    tuned = tune(pixels, taught(), method="turn", recipe=recipe(batch_size=7, accumulate=2))
    for record in tuned.history:
        found = record.selection
        assert record.images == found.drawn.sum() == K * found.n
        assert record.steps == -(-record.images // 7)
        assert 0 <= record.agreement <= 1
    assert tuned.images == sum(record.images for record in tuned.history)
    assert tuned.steps == sum(record.steps for record in tuned.history)


def test_cached_features_spare_the_extraction_and_change_nothing() -> None:
    pixels, backbone = made_images(), taught()
    alone = tune(pixels, backbone, method="turn")
    given = tune(pixels, backbone, method="turn", features=features_of(pixels, backbone))
    assert same(alone, given)
    assert given.seconds["features"] == 0 < alone.seconds["features"]
    for phase in ("probe", "cleaning", "tuning"):
        assert given.seconds[phase] > 0
    ce = tune(pixels, backbone, method="ce")
    assert ce.seconds["probe"] == ce.seconds["cleaning"] == ce.seconds["features"] == 0
    assert all(record.selection is None for record in ce.history)


@pytest.mark.parametrize("method", ["ce", "gce", "elr"])
def test_fine_tuning_learns_what_a_probe_of_random_features_does_not(method: str) -> None:
    pixels, backbone = made_images(45, 60), tiny()
    rows, test = pixels.rows("train"), pixels.rows("test")
    y = pixels.labels[rows]
    tuned = tune(pixels, backbone, y, method=method, recipe=recipe(epochs=6))
    assert accuracy(tuned, pixels) > 0.95
    assert tuned.history[-1].agreement > 0.95
    assert tuned.history[-1].loss < tuned.history[0].loss
    W, b = probe_head(features_of(pixels, backbone), y, K, method="ce", device="cpu")
    probe = (features_of(pixels, backbone, "test") @ W.T + b).argmax(1) == pixels.labels[test]
    assert probe.mean() < 0.7


def test_turn_trains_on_cleaner_labels_than_it_was_given() -> None:
    pixels = made_images(60, 60)
    truth = pixels.labels[pixels.rows("train")]
    y = noisy(truth, every=3)
    assert (y == truth).mean() == pytest.approx(2 / 3)
    # Sixty images are one step of the probe per epoch.
    tuned = tune(pixels, taught(), y, method=Turn(probe_epochs=300))
    for record in tuned.history:
        assert (y == truth)[record.selection.clean].mean() > 0.95
    assert accuracy(tuned, pixels) > 0.95


@pytest.mark.parametrize("method", ["ce", "turn"])
def test_the_gradient_reaches_every_part_of_the_network(method: str) -> None:
    """The first block and the embeddings move, and the backbone that was given does not."""
    pixels, backbone = made_images(), taught()
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    options = recipe(epochs=1, weight_decay=0)  # nothing but a gradient moves a parameter
    tuned = tune(pixels, backbone, method=method, recipe=options)
    after = tuned.classifier.backbone.state_dict()
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= set(after)
    for name, value in backbone.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not tuned.classifier.training


def test_lower_blocks_take_smaller_steps_under_a_layer_decay() -> None:
    """The first step of Adam without decay is the rate itself, in every weight."""
    pixels, backbone = made_images(8), tiny()
    options = recipe(epochs=1, weight_decay=0, layer_decay=0.5, warmup=0, schedule="constant", clip=0)
    tuned = tune(pixels, backbone, method="ce", recipe=options)
    start, end = backbone.model.state_dict(), tuned.classifier.backbone.state_dict()
    step = {name: (end[name] - start[name]).abs().median().item() for name in start}
    for name, scale in {
        "patch_embed.proj.weight": 0.25, "pos_embed": 0.25, "blocks.0.mlp.fc1.weight": 0.5,
        "blocks.1.mlp.fc1.weight": 1, "norm.weight": 1,
    }.items():  # fmt: skip
        assert step[name] == pytest.approx(scale * 2e-3, rel=0.02), name


def test_gains_biases_and_embeddings_do_not_decay() -> None:
    options = recipe(weight_decay=0.3, layer_decay=0.5)
    classifier = make_classifier(tiny(), K)
    names = {id(p): name for name, p in classifier.named_parameters()}
    found = {names[id(p)]: group for group in parameter_groups(classifier, options) for p in group["params"]}
    assert set(found) == set(names.values())
    for name, group in found.items():
        free = name.endswith(("bias", "cls_token", "pos_embed")) or "norm" in name
        assert group["weight_decay"] == (0 if free else 0.3), name
        assert (group["peak"] == options.lr_head) == name.startswith("head.")


@pytest.mark.parametrize("method", ["ce", "gce", "elr", "turn"])
def test_clean_labels_are_never_read(method: str) -> None:
    pixels, backbone = made_images(), taught()
    y = noisy(pixels.labels[pixels.rows("train")])
    garbage = np.full(len(pixels), -1)
    blind = replace(pixels, labels=garbage, checksum="of other labels")
    options = {"method": method, "recipe": recipe(epochs=2, augment=True)}
    one, other = tune(pixels, backbone, y, **options), tune(blind, backbone, y, **options)
    assert same(one, other)
    for mine, its in zip(one.history, other.history, strict=True):
        assert (mine.loss, mine.agreement, mine.gradient_norm) == (its.loss, its.agreement, its.gradient_norm)


class Watched:
    """A set of images that notes which are taken."""

    def __init__(self, pixels: PixelSet) -> None:
        self.taken: list[list[int]] = []
        self.pixels = replace(pixels, _store=self._take)
        self._store = pixels._store

    def _take(self, rows: np.ndarray) -> np.ndarray:
        self.taken.append(rows.tolist())
        return self._store(rows)


def test_order_depends_on_seed_and_epoch_but_not_on_labels_or_method() -> None:
    taken = {}
    y = noisy(made_images().labels[:40])
    for name, labels, method, seed in (
        ("ce", y, "ce", 0),
        ("other labels", np.roll(y, 1), "ce", 0),
        ("elr", y, "elr", 0),
        ("other seed", y, "ce", 1),
    ):
        watched = Watched(made_images())
        tune(watched.pixels, tiny(), labels, method=method, seed=seed, recipe=recipe(epochs=2, augment=True))
        taken[name] = [row for batch in watched.taken for row in batch]
    assert taken["ce"] == taken["other labels"] == taken["elr"]
    assert taken["ce"] != taken["other seed"]
    first, second = taken["ce"][:40], taken["ce"][40:]
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


def test_global_random_numbers_are_neither_used_nor_moved() -> None:
    pixels = made_images()
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002 - the state that others may use
        drawn = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        results.append(tune(pixels, tiny(), method="turn", recipe=recipe(epochs=1, augment=True)))
        assert torch.equal(torch.get_rng_state(), drawn[0])
        assert (np.random.get_state()[1] == drawn[1]).all()  # noqa: NPY002
    assert same(*results)


def test_seeds_differ_in_head_order_and_draw() -> None:
    pixels = made_images()
    one, other = (tune(pixels, taught(), method="turn", seed=seed) for seed in (0, 1))
    assert not same(one, other)
    heads = [make_classifier(tiny(), K, seed=seed).head.weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert heads[0].std().item() == pytest.approx(0.01, rel=0.3)
    assert not make_classifier(tiny(), K).head.bias.any()


def test_augmentation_changes_training_images_but_no_loss_of_the_cleaning() -> None:
    pixels, backbone = made_images(), taught()
    plain, moved = (tune(pixels, backbone, method="turn", recipe=recipe(augment=a)) for a in (False, True))
    assert not same(plain, moved)
    np.testing.assert_array_equal(plain.history[0].selection.losses, moved.history[0].selection.losses)


def test_features_and_logits_are_those_of_the_tuned_network() -> None:
    pixels = made_images()
    tuned, test = tune(pixels, taught(), method="ce"), pixels.rows("test")[::-1]
    features = tuned.features(pixels, test)
    assert features.shape == (30, WIDTH)
    W, b = (getattr(tuned.classifier.head, name).detach().numpy() for name in ("weight", "bias"))
    np.testing.assert_allclose(tuned.logits(pixels, test), features @ W.T + b, rtol=0, atol=1e-5)
    frozen = extract(tuned.backbone.model, tuned.backbone, pixels, test, precision="float32")
    assert np.abs(features - frozen).max() > 0.1
