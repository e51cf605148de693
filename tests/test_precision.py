"""Products in lower precision: what is rounded and what is not, what is set and set back, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from small_bank import FREE, SHORT, TRAINED, X_TEST, Y_TEST, D, K, N, X, facts, noisy, small, train
from steps import batch_of

from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.heads import HEAD_KINDS, HeadBank
from noisylib.optimiser import FusedAdam
from noisylib.precision import PRECISIONS, BFloat16Heads, check_precision, products_in
from noisylib.training import BankInTraining
from noisylib.validation import check_bank_inputs

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
F32, LOW = torch.float32, torch.bfloat16
SIZES = {"seeds": [0, 1, 5], "n_features": 24, "n_classes": 4}
MORE = {"n_nets": 2, "runs_per_seed": 2, "width": 8}
UNIT = 2.0**-8  # half the distance of neighbours at 1


def pair(kind: str, spread: float = 0.3) -> tuple[HeadBank, BFloat16Heads]:
    """The same heads in single precision, of parameters that bfloat16 can hold, and in bfloat16."""
    banks = HeadBank(kind, **SIZES, **MORE), BFloat16Heads(kind, **SIZES, **MORE)
    start = (
        banks[0].flat + torch.randn(banks[0].flat.shape, generator=torch.Generator().manual_seed(0)) * spread
    )
    for bank in banks:
        bank.flat.copy_(start.to(LOW))
    return banks


def batches(bank: HeadBank, B: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Prepared features (S, B, F), of numbers that bfloat16 can hold, and a gradient of logits."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((50, 24), generator=generator).to(LOW).float()
    index = torch.randint(50, (3, B), generator=generator)
    return bank.gather(bank.prepare(x), index), torch.randn((2, 3, 2, B, 4), generator=generator)


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_a_step_is_that_of_single_precision_but_for_rounding(kind: str) -> None:
    single, low = pair(kind)
    (x, gradient), (x_low, _) = batches(single), batches(low)
    assert x_low.dtype == LOW
    z, z_low = single.forward(x), low.forward(x_low)
    assert z_low.shape == z.shape
    assert z_low.dtype == F32
    assert 0 < apart(z_low, z) < 4 * UNIT  # a chain of at most four roundings
    single.backward(x, gradient)
    low.backward(x_low, gradient)
    assert low.gradients.keys() == single.gradients.keys()
    for name, g in single.gradients.items():
        assert low.gradients[name].dtype == F32
        if name == "b":
            torch.testing.assert_close(low.gradients[name], g, rtol=1e-6, atol=1e-6)
        else:
            assert 0 < apart(low.gradients[name], g) < 4 * UNIT, name


def test_numbers_that_bfloat16_holds_give_the_same_bits() -> None:
    """Products of whole numbers up to 2 over 24 features stay below 256, where bfloat16 has every integer."""
    single, low = pair("linear")
    generator = torch.Generator().manual_seed(3)
    weights = torch.randint(-2, 3, single.flat.shape, generator=generator).float()
    X = torch.randint(-2, 3, (9, 24), generator=generator).float()
    index, gradient = torch.arange(9).expand(3, 9), torch.randint(-2, 3, (2, 3, 2, 9, 4), generator=generator)
    logits = []
    for bank in (single, low):
        bank.flat.copy_(weights)
        x = bank.gather(bank.prepare(X), index)
        logits.append(bank.forward(x).clone())
        bank.backward(x, gradient.float())
    assert torch.equal(*logits)
    assert torch.equal(single.flat_gradient, low.flat_gradient)


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_batches_of_every_size_and_shared_ones_give_the_same_logits(kind: str) -> None:
    _, low = pair(kind)
    x = low.prepare(torch.randn((9, 24), generator=torch.Generator().manual_seed(2)))
    whole = low.forward(x.expand(3, -1, -1)).clone()
    for size in (4, 9, 2):
        part = low.forward(x[:size]).clone()
        torch.testing.assert_close(
            part, whole[..., :size, :], rtol=0, atol=8 * UNIT * float(whole.abs().max())
        )
        low.evaluate(x)  # whose blocks must not be those of a step
        assert torch.equal(low.forward(x[:size]), part)


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_evaluation_is_in_single_precision(kind: str) -> None:
    single, low = pair(kind)
    tiny = torch.linspace(0, 1e-4, len(single.flat))  # lost on bfloat16
    for bank in (single, low):
        bank.flat.add_(tiny)
    x = low.prepare(torch.randn((9, 24), generator=torch.Generator().manual_seed(2)))
    assert torch.equal(low.evaluate(x), single.forward(x.float()))


def test_small_updates_are_not_lost() -> None:
    """Adam's first step moves each parameter by the rate, here a hundredth of what bfloat16 resolves at 1."""
    _, low = pair("linear")
    low.flat.fill_(1.0)
    x, gradient = batches(low)
    optimiser = FusedAdam([low.flat], learning_rate=UNIT / 100, weight_decay=0.0)
    for step in range(1, 4):
        low.forward(x)
        low.backward(x, gradient)
        optimiser.step()
        torch.testing.assert_close(
            (low.flat - 1).abs(), torch.full_like(low.flat, step * UNIT / 100), rtol=0.02, atol=0
        )


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_parameters_that_are_written_from_outside_count_at_once(kind: str) -> None:
    _, low = pair(kind)
    x, _ = batches(low)
    low.forward(x)
    for name in ("W", "b"):
        low.parameters[name].zero_()
    assert (low.forward(x) == 0).all()


def bank_in(precision: str, method: str = "dividemix", views: np.ndarray | None = None) -> BankInTraining:
    rule = small(method)
    inputs = check_bank_inputs(X, noisy(3), X_TEST, Y_TEST, K, rule, seeds=[4, 6, 4], views=views, **facts(3))
    return BankInTraining(inputs, rule, "adapter", SHORT, CPU, F32, precision=precision)


def test_features_take_half_the_memory() -> None:
    views = np.random.default_rng(0).normal(size=(4, N, D))
    single, low = (bank_in(precision, views=views) for precision in ("float32", "bfloat16"))
    held = [(bank.X, bank.X_test, bank._cached, bank._prepared) for bank in (single, low)]
    assert [x.nbytes for x in held[1]] == [x.nbytes // 2 for x in held[0]]


@pytest.mark.parametrize("method", ["ce", "cufit"])
def test_scores_and_losses_come_from_single_precision(method: str) -> None:
    """Of one kind of network and of several; what a step computes differs."""
    bank = bank_in("bfloat16", method)
    bank.train_epoch(0, None)
    for prepared in (bank.X_test, bank._prepared):
        found = torch.cat([z.clone() for z in bank.logits(prepared)], dim=3)
        each = [part.evaluate(prepared[..., : part.n_inputs]) for part in bank.networks.banks]
        assert torch.equal(found, torch.cat([z.clone() for z in each]))
        assert not torch.equal(found, bank.forward(prepared))


@pytest.mark.parametrize("cached", [None, np.random.default_rng(0).normal(size=(4, N, D))])
def test_views_are_mixed_in_single_precision(cached: np.ndarray | None) -> None:
    single, low = (bank_in(precision, views=cached) for precision in ("float32", "bfloat16"))
    index = list(range(20))
    expected, found = (bank.views(batch_of(bank, index), (0.25, 0.25)) for bank in (single, low))
    assert found.dtype == F32
    torch.testing.assert_close(found, expected, rtol=UNIT, atol=0)


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_trains_in_bfloat16(method: str) -> None:
    single = train(noisy(3), method, dtype=F32, seeds=[1, 2, 1])
    low = train(noisy(3), method, dtype=F32, seeds=[1, 2, 1], precision="bfloat16")
    assert low.test_logits.dtype == np.float32
    # A label that one precision trains on and the other does not moves single logits by more.
    assert 0 < np.median(np.abs(low.test_logits - single.test_logits)) < 0.02


@pytest.mark.parametrize("method", FREE)
def test_votes_have_nothing_to_round(method: str) -> None:
    single, low = (train(noisy(2), method, dtype=F32, precision=p) for p in ("float32", "bfloat16"))
    np.testing.assert_array_equal(low.test_logits, single.test_logits)


def test_precisions_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"precision.*bfloat17.*bfloat16"):
        train(noisy(1), dtype=F32, precision="bfloat17")
    with pytest.raises(NoisylibError, match=r"precision='tf32' on device='cpu'.*NVIDIA"):
        train(noisy(1), dtype=F32, precision="tf32")
    for precision in PRECISIONS[1:]:
        with pytest.raises(NoisylibError, match=f"precision='{precision}' with dtype=torch.float64"):
            train(noisy(1), precision=precision)
    assert [check_precision(p, CUDA) for p in PRECISIONS] == list(PRECISIONS)
    assert check_precision("tf32") == "tf32"  # of a study, whose device is not known yet


def settings() -> tuple[str, bool, bool]:
    """How a GPU would multiply: torch's newer switch, its older one, and whether pieces add up rounded."""
    matmul = torch.backends.cuda.matmul
    return matmul.fp32_precision, matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction


@pytest.fixture(params=["untouched", True, False, "medium"])
def _set_before(request: pytest.FixtureRequest) -> Iterator[None]:
    """Settings that someone else made; torch's own are put back."""
    matmul, on_cpu = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    kept = matmul.fp32_precision, on_cpu.fp32_precision
    if request.param == "medium":
        torch.set_float32_matmul_precision("medium")
    elif request.param != "untouched":
        matmul.allow_tf32 = request.param
    yield
    torch.set_float32_matmul_precision("highest")
    matmul.fp32_precision, on_cpu.fp32_precision = kept


@pytest.mark.usefixtures("_set_before")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_settings_of_a_gpu_are_of_the_training_only(precision: str) -> None:
    found, tf32 = (*settings(), torch.get_float32_matmul_precision()), precision == "tf32"
    with products_in(precision, CUDA):
        assert settings() == ("tf32" if tf32 else "ieee", tf32, False)
    assert (*settings(), torch.get_float32_matmul_precision()) == found
    with pytest.raises(ZeroDivisionError), products_in(precision, CUDA):
        raise ZeroDivisionError
    assert (*settings(), torch.get_float32_matmul_precision()) == found
    with products_in(precision, CPU):
        assert (*settings(), torch.get_float32_matmul_precision()) == found


def test_training_sets_the_precision_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only around the training, on the device it runs on."""
    asked = []

    @contextmanager
    def listening(precision: str, device: torch.device) -> Iterator[None]:
        asked.append((precision, device.type, "in"))
        yield
        asked.append("out")

    monkeypatch.setattr("noisylib.training.products_in", listening)
    train(noisy(1), dtype=F32, precision="bfloat16", progress=lambda done, of: asked.append(done))
    assert asked == [("bfloat16", "cpu", "in"), 1, 2, 3, 4, "out"]
