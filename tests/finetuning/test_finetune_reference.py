"""Fine-tuning equals a plain loop over single images, in float64, over its whole schedule."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference import finetuning as plain
from reference.losses import ELR, GCE, MeanLoss
from tinytuning import WIDTH, K, made_images, noisy, recipe, tiny

from noisylib.finetuning import FineTuned, FinetuneRecipe, Turn, finetune, probe_head
from noisylib.finetuning.rules import ELRRule, GCERule

N = 21  # in batches of 8: the last batch holds 5
SEED = 7


def images_of(backbone, pixels, rows) -> torch.Tensor:
    return backbone.normalise(pixels.take(rows))


def data() -> SimpleNamespace:
    pixels, backbone = made_images(N), tiny()
    rows = np.random.default_rng(2).permutation(pixels.rows("train"))  # a row is not a position
    y = noisy(pixels.labels[rows])
    return SimpleNamespace(pixels=pixels, backbone=backbone, rows=rows, y=y)


def plain_settings(given) -> plain.Settings:
    shared = plain.Settings.__dataclass_fields__
    return plain.Settings(**{name: getattr(given, name) for name in shared})


def compare(found: FineTuned, expected: plain.Trained, given: SimpleNamespace) -> None:
    """Weights, losses, gradient norms and scores agree."""
    state = found.classifier.state_dict()
    for name, value in expected.parameters().items():
        key = {"W": "head.weight", "b": "head.bias"}.get(name, f"backbone.{name}")
        torch.testing.assert_close(state[key], value.detach(), rtol=0, atol=1e-9)
    np.testing.assert_allclose([r.loss for r in found.history], expected.loss, rtol=0, atol=1e-9)
    norms = [np.mean(epoch) for epoch in expected.norms]
    np.testing.assert_allclose([r.gradient_norm for r in found.history], norms, rtol=0, atol=1e-8)
    test = given.pixels.rows("test")
    with torch.no_grad():
        each = [expected.logits(image.double()) for image in images_of(given.backbone, given.pixels, test)]
    np.testing.assert_allclose(found.logits(given.pixels, test), torch.stack(each), rtol=0, atol=1e-6)


def compare_with_loop(settings: FinetuneRecipe, rule: MeanLoss | GCE | ELR, method: object) -> list[float]:
    """Train both ways from a new head and compare; return the norms of the gradients."""
    given = data()
    images = images_of(given.backbone, given.pixels, given.rows)
    W, b = plain.start_head(SEED, K, WIDTH)
    rule = replace(rule)  # ELR remembers
    expected = plain.tune(
        given.backbone.model, W, b, images, given.y.tolist(), rule, plain_settings(settings), SEED
    )
    options = {"n_classes": K, "method": method, "seed": SEED, "recipe": settings, "device": "cpu"}
    compare(finetune(given.pixels, given.rows, given.y, given.backbone, **options), expected, given)
    return [norm for epoch in expected.norms for norm in epoch]


# The rule, its name in the package, and a norm that some gradients exceed.
RULES = {
    "ce": (MeanLoss(), "ce", 1.6),
    "gce": (GCE(0.7), "gce", 0.9),
    "gce near mae": (GCE(0.95), GCERule(q=0.95), 0.7),
    "elr": (ELR(3.0, 0.7), "elr", 1.8),
    "elr slow": (ELR(1.0, 0.9), ELRRule(lam=1.0, beta=0.9), 1.6),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_equals_plain_loop(name: str) -> None:
    rule, method, clip = RULES[name]
    settings = recipe(precision="float64", epochs=2, layer_decay=0.6, clip=clip)
    norms = compare_with_loop(settings, rule, method)
    assert min(norms) < clip < max(norms), "some steps are clipped and some are not"


def test_elr_holds_certain_predictions_off_zero_and_one() -> None:
    """Two visits of the same samples; of the first one, a prediction is certain to 2e-9."""
    z = torch.tensor([[20.0, 0.0, 0.0], [0.3, -0.2, 0.1]], dtype=torch.float64, requires_grad=True)
    rule, reference = ELRRule(), ELR(3.0, 0.7)
    remembered = rule.memory(2, K).double()
    for _ in range(2):
        losses, remembered = rule.losses(z, torch.tensor([1, 0]), remembered)
        each = torch.stack([reference.sample_loss(z[i], y, i) for i, y in enumerate((1, 0))])
        torch.testing.assert_close(losses, each, rtol=0, atol=1e-12)
        found, expected = (torch.autograd.grad(part.sum(), z)[0] for part in (losses, each))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    by_hand = 0.51 * torch.tensor([1 - 1e-4, 1e-4, 1e-4], dtype=torch.float64) / (1 + 1e-4)
    torch.testing.assert_close(remembered[0], by_hand, rtol=0, atol=1e-12)
    assert not remembered.requires_grad


SETTINGS = {
    "in parts": {"accumulate": 3},
    "one image at a time": {"accumulate": 8},
    "whole set in a batch": {"batch_size": 64, "accumulate": 4},
    "constant": {"schedule": "constant", "warmup": 0.4},
    "no warm-up": {"warmup": 0},
    "no clipping": {"clip": 0},
    "no decay": {"weight_decay": 0.0},
    "strong decay": {"weight_decay": 2.0, "clip": 0.05},
    "head only": {"lr_backbone": 0.0},
    "backbone only": {"lr_head": 0.0},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_equal_plain_loop(name: str) -> None:
    settings = recipe(precision="float64", epochs=2, **SETTINGS[name])
    rule, method = (ELR(3.0, 0.7), "elr") if settings.accumulate > 1 else (MeanLoss(), "ce")
    compare_with_loop(settings, rule, method)


@pytest.mark.parametrize(("tau", "balanced"), [(0.6, True), (0.6, False), (0.3, True)])
def test_turn_equals_plain_loop(tau: float, balanced: bool) -> None:
    given, settings = data(), recipe(precision="float64", epochs=3)
    images = images_of(given.backbone, given.pixels, given.rows)
    with torch.no_grad():
        features = given.backbone.model(images).double().numpy()
    W, b = probe_head(features, given.y, K, epochs=20, seed=SEED, device="cpu")
    expected = plain.tune(
        given.backbone.model, torch.tensor(W), torch.tensor(b), images, given.y.tolist(), MeanLoss(),
        plain_settings(settings), SEED, (tau, balanced),
    )  # fmt: skip
    found = finetune(
        given.pixels, given.rows, given.y, given.backbone, n_classes=K,
        method=Turn(tau=tau, balanced=balanced), seed=SEED, recipe=settings, features=features,
    )  # fmt: skip
    for record, clean, drawn in zip(found.history, expected.clean, expected.drawn, strict=True):
        assert np.flatnonzero(record.selection.clean).tolist() == clean
        assert np.flatnonzero(record.selection.drawn).tolist() == drawn
        assert record.images == len(drawn)
    compare(found, expected, given)
    assert any(len(drawn) < N for drawn in expected.drawn)


def test_reference_step_is_that_of_torch() -> None:
    """The reference itself, on one network and six steps, against torch's optimiser and its clipping."""
    given, settings = data(), plain.Settings(epochs=2, batch_size=10, clip=0.3, layer_decay=0.5)
    W, b = plain.start_head(SEED, K, WIDTH)
    images = images_of(given.backbone, given.pixels, given.rows).double()
    trained = plain.tune(given.backbone.model, W, b, images, given.y.tolist(), MeanLoss(), settings, SEED)
    body = copy.deepcopy(given.backbone.model).double().requires_grad_(True)
    named = {
        **dict(body.named_parameters()),
        "W": W.clone().requires_grad_(),
        "b": b.clone().requires_grad_(),
    }
    depth = plain.depth_of(body)
    assert set(depth.values()) == {0, 1, 2}
    groups = []
    for name, p in named.items():
        peak = 1e-2 if name in ("W", "b") else 1e-3 * 0.5 ** (2 - depth[name])
        decay = 0.0 if p.ndim == 1 or name in ("cls_token", "pos_embed") else 0.05
        groups.append({"params": [p], "peak": peak, "weight_decay": decay})
    optimiser, y, time = torch.optim.AdamW(groups), torch.as_tensor(given.y), 0.5 / 6
    for epoch in range(2):
        for batch in torch.tensor(plain.visiting(N, SEED, epoch)).split(10):
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * plain.factor_at(time, settings)
            optimiser.zero_grad()
            logits = body(images[batch]) @ named["W"].T + named["b"]
            torch.nn.functional.cross_entropy(logits, y[batch]).backward()
            torch.nn.utils.clip_grad_norm_(named.values(), 0.3)
            optimiser.step()
            time += 1 / 6
    assert trained.norms[0][0] > 0.3
    for name, p in named.items():
        torch.testing.assert_close(trained.parameters()[name].detach(), p.detach(), rtol=0, atol=1e-11)


def test_rates_rise_in_a_line_and_fall_by_half_a_cosine() -> None:
    settings = plain.Settings(warmup=0.2)
    assert plain.factor_at(0.1, settings) == pytest.approx(0.5)
    assert plain.factor_at(0.2, settings) == pytest.approx(1)
    assert plain.factor_at(0.6, settings) == pytest.approx(0.5)
    assert plain.factor_at(1.0, settings) == pytest.approx(0)
    # Four steps of one epoch, the last batch partial: .125, .375, .625 and .875 of the time.
    given = recipe(epochs=1, warmup=0.2)
    found = [given.factor(0, step, 4) for step in range(4)]
    assert found == pytest.approx(
        [0.625, *(0.5 + 0.5 * np.cos(np.pi * (t - 0.2) / 0.8) for t in (0.375, 0.625, 0.875))]
    )
    # Epochs of other lengths take the same share of the time.
    given = recipe(epochs=2, warmup=0, schedule="cosine")
    assert given.factor(1, 0, 2) == pytest.approx(0.5 + 0.5 * np.cos(np.pi * 0.625))
    assert {recipe(schedule="constant").factor(e, s, 5) for e in (1, 2) for s in range(5)} == {1.0}
