"""Many small classification heads trained as one tensor program.

A bank holds S seeds x M heads. Heads of one seed see the same batch, so a forward pass gathers
(S, B, D) once and multiplies it into all M heads of that seed with one batched matrix product.

Four things make a step fast on a CPU. Activations are feature-major, (S, M, width, B), so that every
product runs over contiguous blocks. All parameters, and all gradients, are views of one flat tensor,
so that Adam is one fused pass over memory. The backward pass is written out into buffers that
are kept between steps: automatic differentiation, which the tests compare it with, spends a
quarter of the step on fresh memory for gradients. And every view that a step needs is made once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from noisylib import pages
from noisylib.errors import NoisylibError, check_name
from noisylib.seeding import torch_generator

HEAD_KINDS = ("linear", "mlp", "adapter")
WIDTHS = {"linear": 0, "mlp": 256, "adapter": 64}


class HeadBank:
    """S x M heads of one kind with stacked parameters and gradients.

    Parameters
    ----------
    kind : "linear" z = W x + b; "mlp" z = W g(V x + c) + b; or "adapter", a residual bottleneck
        before a linear layer, z = W (x + U g(V LN(x))) + b with U = 0 at the start, so that it
        starts as a linear head. g is GELU. LN has no gain or bias of its own: V absorbs the gain.
    seeds : S training seeds. Equal seeds give equal heads.
    n_features, n_classes : D and K.
    n_nets : networks per run; network i of every run of a seed starts from the same draw.
    first_net : number of the first network, where a run has banks of several kinds.
    runs_per_seed : H runs that share a seed; M = n_nets * H, network-major.
    width : hidden units of "mlp" (default 256) or bottleneck of "adapter" (default 64).

    Attributes
    ----------
    flat : (P,) all parameters, a leaf whose ``grad`` is allocated once; for the optimiser.
    flat_gradient : (P,) that ``grad``; it stays where ``flat.grad`` is None while a bank rests.
    parameters, gradients : name -> (S, M, rows, columns) views of ``flat`` and ``flat_gradient``.
    """

    def __init__(
        self,
        kind: str,
        seeds: Sequence[int],
        n_features: int,
        n_classes: int,
        *,
        n_nets: int = 1,
        first_net: int = 0,
        runs_per_seed: int = 1,
        width: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.kind = check_name("head", kind, HEAD_KINDS)
        self.n_features, self.n_classes = n_features, n_classes
        self.grid = (len(seeds), n_nets, runs_per_seed)
        self.width = WIDTHS[kind] if width is None else width
        if kind != "linear" and self.width < 1:
            raise NoisylibError(f"width={width}: a head of kind {kind!r} needs at least 1 hidden unit.")
        S, M = len(seeds), n_nets * runs_per_seed
        shapes = {name: (S, M, *size) for name, size, _ in self._parts()}
        both = pages.zeros(2, sum(map(math.prod, shapes.values())), dtype=dtype, device=device)
        self.flat, self.flat_gradient = both.unbind()
        self.flat.grad = self.flat_gradient
        self.parameters = split_flat(self.flat, shapes)
        self.gradients = split_flat(self.flat_gradient, shapes)
        self._scratch: dict[str, Tensor] = {}
        self._at: dict[int, _Views] = {}
        for name, size, bound in self._parts():
            numbers = range(first_net, first_net + n_nets)
            nets = [[_uniform(size, bound, kind, seed, net, name) for net in numbers] for seed in seeds]
            stacked = torch.stack([torch.stack(row) for row in nets])  # (S, nets, *size)
            self.parameters[name].copy_(stacked.repeat_interleave(runs_per_seed, dim=1))

    def _parts(self) -> list[tuple[str, tuple[int, int], float]]:
        """Name, shape and bound of the uniform start (0: starts at zero) of each parameter."""
        D, K, h = self.n_features, self.n_classes, self.width
        fan = h if self.kind == "mlp" else D
        last = [("W", (K, fan), fan**-0.5), ("b", (K, 1), fan**-0.5)]
        return {
            "linear": last,
            "mlp": [("V", (h, D), D**-0.5), ("c", (h, 1), D**-0.5), *last],
            "adapter": [("V", (h, D), D**-0.5), ("U", (D, h), 0.0), *last],
        }[self.kind]

    @property
    def n_inputs(self) -> int:
        """F, columns of prepared features."""
        return self.n_features * (2 if self.kind == "adapter" else 1)

    def prepare(self, X: Tensor) -> Tensor:
        """Return features (..., D) as `forward` takes them, (..., F).

        For the adapter it holds x and LN(x) side by side: features never change, so the
        normalisation is done once and not once per step.
        """
        return torch.cat([X, F.layer_norm(X, X.shape[-1:])], dim=-1) if self.kind == "adapter" else X

    def gather(self, prepared: Tensor, index: Tensor) -> Tensor:
        """Return the rows `index` (S, B) of prepared features, (S, B, F), in a buffer that is kept."""
        v = self._views(index.shape[1])
        torch.index_select(prepared, 0, index.flatten(), out=v.rows)
        return v.x

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (nets, S, H, B, K) for prepared batches `x` of shape (S, B, F), or (B, F) for all.

        The result is a view of a buffer that the next call overwrites.
        """
        v = self._views(x.shape[-2])
        _, plain, _, normalised = v.inputs(x)
        if self.kind == "mlp":
            torch.bmm(v.V, plain, out=v.before)
            v.before_rows.add_(v.c)
            torch.ops.aten.gelu.out(v.before, out=v.hidden)
            torch.bmm(v.W, v.hidden_of_head, out=v.z_of_head)
        else:
            torch.bmm(v.W, plain, out=v.z)
        if self.kind == "adapter":
            torch.bmm(v.V, normalised, out=v.before)
            torch.ops.aten.gelu.out(v.before, out=v.hidden)
            # W U is folded first, (K, r) per head: no (B, D) activation per head ever exists.
            torch.bmm(v.W_of_head, v.U, out=v.folded)
            v.z_of_head.baddbmm_(v.folded, v.hidden_of_head)
        v.z_of_head.add_(v.b)
        return v.logits

    def evaluate(self, x: Tensor) -> Tensor:
        """Return logits as `forward` does, in the precision of the parameters."""
        return self.forward(x)

    def backward(self, x: Tensor, gradient: Tensor) -> None:
        """Overwrite ``gradients`` given d loss / d logits (nets, S, H, B, K) of the last ``forward(x)``.

        Once per forward pass: it uses up what that pass kept.
        """
        v = self._views(x.shape[-2])
        plain, _, normalised, _ = v.inputs(x)
        gz = gradient.permute(1, 0, 2, 4, 3).contiguous().view(v.z_of_head.shape)
        torch.sum(gz, -1, keepdim=True, out=v.g_b)
        if self.kind == "linear":
            torch.bmm(gz.view(v.z.shape), plain, out=v.g_W)
            return
        mlp = self.kind == "mlp"
        torch.bmm(gz, v.hidden_of_head_T, out=v.g_W if mlp else v.g_folded)
        # The activations are used up: their gradient takes their place, which is still in cache.
        torch.bmm(v.outgoing_T, gz, out=v.hidden_of_head)
        torch.ops.aten.gelu_backward.grad_input(v.hidden, v.before, grad_input=v.hidden)
        torch.bmm(v.hidden, normalised, out=v.g_V)
        if mlp:
            torch.sum(v.hidden_of_head, -1, keepdim=True, out=v.g_c)
        else:  # last, because it needs none of the activations
            torch.bmm(gz.view(v.z.shape), plain, out=v.g_W)
            v.g_W_of_head.baddbmm_(v.g_folded, v.U_T)
            torch.bmm(v.W_of_head_T, v.g_folded, out=v.g_U)

    def _views(self, B: int) -> _Views:
        if B not in self._at:
            self._at[B] = _Views(self, B)
        return self._at[B]

    def buffer(self, name: str, *shape: int) -> Tensor:
        """Return a kept tensor of this name and shape; it grows and never shrinks."""
        size = math.prod(shape)
        kept = self._scratch.get(name)
        if kept is None or kept.numel() < size:
            kept = self._scratch[name] = pages.empty(size, dtype=self.flat.dtype, device=self.flat.device)
            self._at.clear()  # views of the smaller one
        return kept[:size].view(shape)

    @staticmethod
    def sizes(kind: str, n_features: int, n_classes: int, width: int | None = None) -> tuple[int, int]:
        """Return the numbers of parameters of one head, and of activations of one head for one sample."""
        kind = check_name("head", kind, HEAD_KINDS)
        D, K, h = n_features, n_classes, WIDTHS[kind] if width is None else width
        parameters = {
            "linear": (D + 1) * K,
            "mlp": (D + 1) * h + (h + 1) * K,
            "adapter": 2 * D * h + (D + 1) * K,
        }[kind]
        return parameters, K if kind == "linear" else 2 * h + K

    def flops_per_sample(self) -> int:
        """Floating-point operations of one head's forward and backward pass for one sample."""
        D, K, h = self.n_features, self.n_classes, self.width
        first = {"linear": D * K, "mlp": D * h, "adapter": D * (h + K)}[self.kind]
        return 2 * (2 * first + 3 * h * K)  # no gradient flows to the features

    def step_flops(self, batch_size: int) -> int:
        """Floating-point operations of all matrix products of one head's step on `batch_size` samples.

        Beside those of each sample, the adapter has three of its own weights: folding W U, and the two
        gradients through it.
        """
        once = 6 * self.n_classes * self.n_features * self.width if self.kind == "adapter" else 0
        return self.flops_per_sample() * batch_size + once


class BatchRows:
    """The rows of a batch in a kept buffer, and the views of them, or of other rows, that products take."""

    def __init__(self, rows: Tensor, seeds: int, n_features: int) -> None:
        self._seeds, self._features = seeds, n_features  # not the bank: a circle would keep its memory
        self.rows = rows
        self.x = rows.view(seeds, -1, rows.shape[1])
        self._parts_of_x = self._parts(self.x)

    def inputs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the first and the last layer see of `x`, (S, B, D), each also transposed."""
        return self._parts_of_x if x is self.x else self._parts(x)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = x.expand(self._seeds, *x.shape[-2:])
        plain, normalised = x[..., : self._features], x[..., -self._features :]
        return plain, plain.mT, normalised, normalised.mT


class _Views(BatchRows):
    """Views of a bank's parameters, gradients and buffers, shaped for the products of a step on B samples.

    A view takes microseconds to make, and a step has dozens of them: they are made once. Those called
    ``..._of_head`` have one matrix per head, (S M, ...), the others one per seed, (S, M ..., ...).
    """

    def __init__(self, bank: HeadBank, B: int) -> None:
        S, nets, H = bank.grid
        M, K, D, h = nets * H, bank.n_classes, bank.n_features, bank.width
        p, g = bank.parameters, bank.gradients
        if bank.kind != "linear":
            self.before, self.hidden = (bank.buffer(name, S, M * h, B) for name in ("before", "hidden"))
            self.before_rows, self.hidden_of_head = (x.view(S * M, h, B) for x in (self.before, self.hidden))
            self.V, self.g_V = (x["V"].view(S, M * h, D) for x in (p, g))
            self.hidden_of_head_T = self.hidden_of_head.mT
        self.z = bank.buffer("z", S, M * K, B)
        self.z_of_head = self.z.view(S * M, K, B)
        self.logits = self.z.view(S, nets, H, K, B).permute(1, 0, 2, 4, 3)
        self.b, self.g_b = (x["b"].view(S * M, K, 1) for x in (p, g))
        self.W_of_head, self.g_W_of_head = (x["W"].view(S * M, K, -1) for x in (p, g))
        if bank.kind == "mlp":
            self.c, self.g_c = (x["c"].view(S * M, h, 1) for x in (p, g))
            self.W, self.g_W, self.outgoing_T = self.W_of_head, self.g_W_of_head, self.W_of_head.mT
        else:
            self.W, self.g_W = (x["W"].view(S, M * K, D) for x in (p, g))
        if bank.kind == "adapter":
            self.folded, self.g_folded = (bank.buffer(n, S * M, K, h) for n in ("folded", "g_folded"))
            self.U, self.g_U = (x["U"].view(S * M, D, h) for x in (p, g))
            self.outgoing_T, self.U_T, self.W_of_head_T = self.folded.mT, self.U.mT, self.W_of_head.mT
        super().__init__(bank.buffer("x", S * B, bank.n_inputs), S, D)


def split_flat(flat: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return views of a flat tensor, one after the other, by name."""
    parts = flat.split([math.prod(shape) for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _uniform(size: tuple[int, int], bound: float, kind: str, seed: int, net: int, name: str) -> Tensor:
    if bound == 0:
        return torch.zeros(size, dtype=torch.float64)
    generator = torch_generator("init", int(seed), net, kind, name)
    # Drawn in float64 and then rounded, so that float32 and float64 banks start alike.
    return (torch.rand(size, generator=generator, dtype=torch.float64) * 2 - 1) * bound
