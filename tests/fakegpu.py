"""A GPU that computes nothing: shapes and devices without values, and a watch for what would make it wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from small_bank import SHORT, X_TEST, Y_TEST, K, X, facts, noisy, small
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from noisylib.methods import Method
from noisylib.recorder import Recorder
from noisylib.training import BankInTraining
from noisylib.validation import check_bank_inputs

# Their result, or its size, has to be known to the host.
ASKING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "unique_dim", "_unique2", "is_nonzero"}
COPIES = {"_to_copy", "copy_"}


class Watch(TorchDispatchMode):
    """Notes operations for which the host waits for a GPU, by whether a step was going on."""

    def __init__(self) -> None:
        super().__init__()
        self.in_step = False
        self.waits: dict[bool, list[str]] = {True: [], False: []}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name, at = func.overloadpacket.__name__, {x.device.type for x in _tensors(args, kwargs) if x.dim()}
        target = torch.device(kwargs.get("device") or "meta").type
        if name == "_to_copy" and target != "meta":
            at.add(target)
        if name in ASKING and "cuda" in at | {x.device.type for x in _tensors(args, kwargs)}:
            self._note(name)
        elif name in COPIES and at == {"cpu", "cuda"}:
            queued = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
            if not queued or (name == "_to_copy" and target == "cpu"):
                self._note(f"{name} between devices")
        elif at == {"cpu", "cuda"}:
            self._note(f"{name} of tensors on both devices")
        elif name in ("index", "index_put_") and any(x.dtype == torch.bool for x in _tensors(args[1], {})):
            self._note(f"{name} by a mask")
        return func(*args, **kwargs)

    def _note(self, what: str) -> None:
        self.waits[self.in_step].append(what)


def _tensors(args: object, kwargs: object) -> list[Tensor]:
    return [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Make tensors on "cuda" possible, without values, and watch them."""
    # There is no pinned memory without a GPU; where the copy goes from is not what is watched.
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    with FakeTensorMode(), Watch() as watch:
        yield watch


def trained_there(
    method: str | Method, watch: Watch, *, precision: str = "float32", **more
) -> BankInTraining:
    """Train four runs of two seeds for the whole schedule of the small bank, inside of `fake_gpu`."""
    rule = small(method) if isinstance(method, str) else method
    told = facts(4) | {name: more.pop(name) for name in ("views", "sample_weight") if name in more}
    inputs = check_bank_inputs(X, noisy(4), X_TEST, Y_TEST, K, rule, seeds=[0, 0, 1, 1], **told)
    head = more.pop("head", "adapter")
    bank = BankInTraining(inputs, rule, head, SHORT, torch.device("cuda"), torch.float32, precision=precision)
    for epoch in range(SHORT.epochs):
        with in_steps(bank, watch):
            bank.train_epoch(epoch, Recorder(bank, Y_TEST, trace=True))
    return bank


@contextmanager
def in_steps(bank: BankInTraining, watch: Watch) -> Iterator[None]:
    """Tell `watch` when a step of the bank's method goes on."""
    method = bank.method

    class Around:
        def __getattr__(self, name: str) -> Callable:
            return getattr(method, name)

        def step(self, *arguments: object) -> None:
            watch.in_step = True
            method.step(*arguments)
            watch.in_step = False

    bank.method = Around()
    try:
        yield
    finally:
        bank.method, watch.in_step = method, False
