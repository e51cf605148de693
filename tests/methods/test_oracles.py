"""What holds for every method: what it declares, its written gradient, and how it treats bad options."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from blobs import blobs
from steps import F64, logits, step_of

from noisylib.errors import NoisylibError, UnknownNameError
from noisylib.methods import METHODS, RANKED, TOLD, Batch, TrainingFree, make_method
from noisylib.methods.voting import AdaptiveNearestNeighbours, KNearestNeighbours
from noisylib.training import BankInTraining, train_bank

RANKED_EIGHT = ("ce", "ls", "gce", "forward", "coteaching", "dividemix", "elr", "cufit")
REMEDIES = ("coteaching_quota", "coteaching_class_tau", "coteaching_balanced")
TRAINED = [name for name, cls in METHODS.items() if not issubclass(cls, TrainingFree)]
RUNS = (2, 2)
RATES = torch.tensor([[0.1, 0.5], [0.3, 0.0]], dtype=F64)
ASYMMETRIC = torch.tensor([[True, False], [False, True]])
TRANSITIONS = torch.stack(
    [
        torch.stack([(1 - eta) * torch.eye(3, dtype=F64) + eta * target for eta in (0.1, 0.3)])
        for target in (torch.eye(3, dtype=F64)[[1, 2, 0]], torch.full((3, 3), 1 / 3, dtype=F64))
    ]
)
Y = torch.tensor([[[0, 2, 1, 1, 0, 2], [1, 1, 1, 0, 0, 2]], [[2, 2, 2, 2, 2, 2], [0, 1, 2, 0, 1, 2]]])


def batch_for(method, *, asymmetric=ASYMMETRIC) -> Batch:
    told = {"rate": RATES, "asymmetric": asymmetric, "transition": TRANSITIONS}
    return step_of(method, 6, 3, runs=RUNS, index=[3, 1, 8, 0, 4, 6], **told)


def states_agree(a: Batch, b: Batch) -> None:
    for name, value in a.state.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, b.state[name], rtol=0, atol=1e-15)
    assert (a.selected is None) == (b.selected is None)
    if a.selected is not None:
        assert torch.equal(a.selected, b.selected.expand_as(a.selected))


@pytest.mark.parametrize("name", TRAINED)
def test_written_gradients_are_those_of_the_loss(name: str) -> None:
    method = make_method(name)
    z = 2 * logits(method.n_nets, 6, 3, runs=RUNS).detach()
    z = z.mT.contiguous().mT  # as the heads hand them over: classes before samples in memory
    kept, leaf = z.clone(), z.clone().requires_grad_()
    one, two = batch_for(method), batch_for(method)
    written = method.gradient(z, Y, one)
    expected = torch.autograd.grad(method.loss(leaf, Y, two).sum(), leaf)[0]
    torch.testing.assert_close(written, expected, rtol=0, atol=1e-14)
    assert torch.equal(z, kept), "the logits must be left as they are"
    states_agree(one, two)
    # A second visit, with what the first one left behind.
    torch.testing.assert_close(
        method.gradient(0.5 * z, Y, one),
        torch.autograd.grad(method.loss(0.5 * leaf, Y, two).sum(), leaf)[0] / 0.5,
        rtol=0,
        atol=1e-14,
    )
    states_agree(one, two)


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_of_a_run_does_not_see_the_other_runs(name: str) -> None:
    method = make_method(name)
    z = logits(method.n_nets, 6, 3, runs=RUNS).detach()
    loss = method.loss(z, Y, batch_for(method))
    together = method.gradient(z, Y, batch_for(method))
    assert loss.shape == (method.n_nets, *RUNS)
    for s in range(2):
        for h in range(2):
            batch = batch_for(method)
            for key, value in batch.state.items():
                if isinstance(value, torch.Tensor):
                    batch.state[key] = value[s : s + 1, h : h + 1]
            batch.flat_index, batch.index = batch.flat_index[:1, :1], batch.index[:1]
            one = z[:, s : s + 1, h : h + 1]
            alone = method.gradient(one, Y[s : s + 1, h : h + 1], batch)
            torch.testing.assert_close(together[:, s, h], alone[:, 0, 0], rtol=0, atol=1e-15)
            value = method.loss(one, Y[s : s + 1, h : h + 1], batch)
            if not method.keeps_state:
                torch.testing.assert_close(loss[:, s, h], value[:, 0, 0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_sum_to_zero_over_the_classes(name: str) -> None:
    """A constant added to all logits of a sample changes no probability, so no loss."""
    method = make_method(name)
    written = method.gradient(logits(method.n_nets, 6, 3, runs=RUNS).detach(), Y, batch_for(method))
    assert written.sum(-1).abs().max() < 1e-14


@pytest.mark.parametrize("name", TRAINED)
def test_certain_logits_give_finite_losses_and_gradients(name: str) -> None:
    """Float32 probabilities of 0 and 1, right and wrong."""
    method = make_method(name)
    z = 500 * logits(method.n_nets, 6, 3, runs=RUNS).detach().float()
    batch = batch_for(method, asymmetric=torch.tensor(False))
    batch.state = {
        key: value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for key, value in batch.state.items()
    }
    assert method.loss(z, Y, batch).isfinite().all()
    assert method.gradient(z, Y, batch).isfinite().all()


def test_the_ranked_eight_come_first_and_every_name_is_its_own() -> None:
    assert RANKED == RANKED_EIGHT == tuple(METHODS)[:8]
    assert list(METHODS) == [cls.name for cls in METHODS.values()]
    assert len({cls.title for cls in METHODS.values()}) == len(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_declares_itself(name: str) -> None:
    cls = METHODS[name]
    method = cls()
    assert cls.title
    assert cls.citation
    assert "Source: " in cls.__doc__
    assert set(method.told) <= set(TOLD)
    assert method.n_nets == sum(count for _, count in method.head_kinds("linear"))
    for f in dataclasses.fields(cls):
        facts = f.metadata
        assert facts["doc"]
        assert facts["source"]
        default = facts["low"] if f.default is None else f.default
        assert facts["low"] <= default <= facts["high"]
        assert not facts["whole"] or isinstance(f.default, int)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(method, f.name, default)


def test_what_methods_are_told_and_how_many_networks_they_have() -> None:
    told = {name: make_method(name).told for name in METHODS}
    assert {name: facts for name, facts in told.items() if facts} == {
        "coteaching": ("noise_rate",),
        "jocor": ("noise_rate",),
        "dividemix": ("noise_rate", "noise_type"),
        "forward_oracle": ("transition",),
        "backward": ("transition",),
        "coteaching_quota": ("noise_rate",),
        "coteaching_class_tau": ("transition",),
        "coteaching_balanced": ("noise_rate",),
    }
    kinds = {name: make_method(name).head_kinds("adapter") for name in METHODS}
    several = {"cufit": (("linear", 1), ("adapter", 2)), "turn": (("linear", 1), ("adapter", 1))}
    pairs = ("coteaching", "jocor", "dividemix", "unicon", *REMEDIES)
    several |= {name: (("adapter", 2),) for name in pairs}
    several |= {name: () for name in ("knn", "ann", "wann")}
    assert kinds == {name: several.get(name, (("adapter", 1),)) for name in METHODS}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"unlabelled_weight": 25}, ("noise_type",)),
        ({"warm_up_penalty": 0}, ("noise_rate", "noise_type")),
        ({"unlabelled_weight": 0, "warm_up_penalty": 0}, ()),
    ],
)
def test_dividemix_is_told_only_what_its_weights_are_chosen_by(options: dict, told: tuple) -> None:
    assert make_method("dividemix", options).told == told


@pytest.mark.parametrize("name", TRAINED)
def test_scores(name: str) -> None:
    """The first network's logits, but for the methods that say otherwise."""
    method = make_method(name)
    z = logits(method.n_nets, 4, 3).detach()
    state = {"phase": 1} if name == "turn" else {}
    expected = {"dividemix": z.sum(0), "unicon": z.sum(0), "cufit": z[-1], "turn": z[-1]}
    assert torch.equal(method.scores(z, state), expected.get(name, z[0]))


@pytest.mark.parametrize(("name", "fact"), [(name, f) for name in METHODS for f in make_method(name).told])
def test_a_fact_that_is_not_told_is_named_before_training(name: str, fact: str, monkeypatch) -> None:
    monkeypatch.setattr(BankInTraining, "__init__", lambda *_: pytest.fail("training has begun"))
    X, y = blobs(30, 3, 4)
    told = {"noise_rates": [0.2], "noise_types": ["symmetric"], "transitions": np.eye(3)}
    told[f"{fact}s"] = None
    with pytest.raises(NoisylibError, match=rf"^{fact}s is missing: method '{name}' is told {TOLD[fact]}"):
        train_bank(X, y, X, y, n_classes=3, method=name, device="cpu", **told)


def test_a_configured_method_passes_through_and_options_are_set() -> None:
    method = make_method("gce", {"q": 0.4})
    assert method.q == 0.4
    assert make_method(method) is method


OPTIONS = [(name, f) for name, cls in METHODS.items() for f in dataclasses.fields(cls)]


@pytest.mark.parametrize(("name", "f"), [pytest.param(*o, id=f"{o[0]}-{o[1].name}") for o in OPTIONS])
def test_impossible_options_are_named_with_what_is_allowed(name: str, f: dataclasses.Field) -> None:
    low, high = f.metadata["low"], f.metadata["high"]
    wrong = [low - 1, high + 1, math.nan, math.inf, -math.inf, "0.5", "1e-3", True, [low], 1j]
    wrong += [low + 1.5, float(high)] if f.metadata["whole"] else [math.nextafter(high, math.inf)]
    wrong += [] if f.default is None else [None]
    for value in wrong:
        with pytest.raises(NoisylibError) as error:
            make_method(name, {f.name: value})
        text = str(error.value)
        assert text.startswith(f"{f.name}={value!r} ")
        assert repr(name) in text
        assert f"[{low:g}, {high:g}]" in text
        assert ("whole number" if f.metadata["whole"] else "number") in text


@pytest.mark.parametrize(("name", "f"), [pytest.param(*o, id=f"{o[0]}-{o[1].name}") for o in OPTIONS])
def test_the_ends_of_each_range_are_allowed(name: str, f: dataclasses.Field) -> None:
    others = {"kmax": 9999} if f.name == "kmin" else {"kmin": 1} if f.name == "kmax" else {}
    for value in (f.metadata["low"], f.metadata["high"]):
        assert getattr(make_method(name, {**others, f.name: value}), f.name) == value


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        *(("gce", "q", q) for q in (0, 1.01)),
        *(("tgce", "k", k) for k in (0, 1)),
        ("ls", "smoothing", 1.5),
        ("elr", "beta", 1),
        ("jocor", "lam", 1.2),
        *(("dividemix", "temperature", T) for T in (0, -1)),
        *(("dividemix", "alpha", a) for a in (0, -4)),
        ("dividemix", "drop", 1),
        ("unicon", "strong_drop", 1),
        ("dividemix", "warm_up", 0),
        *((name, "folds", n) for name in ("forward", "cl_prune") for n in (0, 1, 5.0)),
        ("forward", "percentile", 101),
        ("turn", "tau", -0.1),
        ("turn", "probe", 0),
        ("rcal", "alpha", 0),
        ("rcal", "mix", 1.1),
        ("coteaching", "ramp_epochs", 1),
        ("coteaching", "exponent", 0),
        ("sce", "log_zero", 0),
    ],
)
def test_values_that_would_break_a_formula_are_refused(name: str, option: str, value: float) -> None:
    with pytest.raises(NoisylibError, match=f"{option}={value}"):
        make_method(name, {option: value})


def test_even_numbers_of_voters_are_refused() -> None:
    for make in (lambda: KNearestNeighbours(k=12), lambda: AdaptiveNearestNeighbours(kmin=12)):
        with pytest.raises(NoisylibError, match="is even"):
            make()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("elr", {"lamda": 1}, "Did you mean 'lam'"),
        ("elf", {}, "Did you mean 'elr'"),
        ("divide_mix", {}, "Did you mean 'dividemix'"),
        ("dividemix", {"lambda_u": 1}, "option of method 'dividemix'='lambda_u' is unknown"),
        ("", {}, "Allowed: ann"),
    ],
)
def test_unknown_names_are_suggested(name: str, options: dict, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        make_method(name, options)
