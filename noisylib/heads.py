"""Many small classification heads trained as one tensor program.

A bank holds S seeds x M heads. Heads of one seed see the same batch, so a forward pass gathers
(S, B, D) once and multiplies it into all M heads of that seed with one batched matrix product.

Three things make a step fast on a CPU. Activations are feature-major, (S, M, width, B), so that every
product runs over contiguous blocks. All parameters, and all gradients, are views of one flat tensor,
so that Adam is one fused pass over memory. And the backward pass is written out into buffers that
are kept between steps: automatic differentiation, which the tests compare it with, spends a
quarter of the step on fresh memory for gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

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
        self.flat = torch.empty(sum(map(math.prod, shapes.values())), dtype=dtype, device=device)
        self.flat.grad = self.flat_gradient = torch.zeros_like(self.flat)
        self.parameters = _views(self.flat, shapes)
        self.gradients = _views(self.flat_gradient, shapes)
        self._scratch: dict[str, Tensor] = {}
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
        x = self._buffer("x", index.numel(), prepared.shape[1])
        return torch.index_select(prepared, 0, index.flatten(), out=x).view(*index.shape, -1)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return logits (nets, S, H, B, K) for prepared batches `x` of shape (S, B, F), or (B, F) for all.

        The result is a view of a buffer that the next call overwrites.
        """
        S, nets, H = self.grid
        M, K, p = nets * H, self.n_classes, self.parameters
        x = x.expand(S, *x.shape[-2:])
        B = x.shape[1]
        z = self._buffer("z", S, M * K, B)
        if self.kind == "mlp":
            hidden = self._hidden(p["V"], x, p["c"])
            _bmm(p["W"], hidden, out=z)
        else:
            torch.bmm(p["W"].view(S, M * K, -1), x[..., : self.n_features].mT, out=z)
        if self.kind == "adapter":
            hidden = self._hidden(p["V"], x[..., self.n_features :])
            # W U is folded first, (K, r) per head: no (B, D) activation per head ever exists.
            folded = _bmm(p["W"], p["U"], out=self._buffer("folded", S * M, K, self.width))
            z.view(S * M, K, B).baddbmm_(folded, hidden)
        z.view(S, M, K, B).add_(p["b"])
        return z.view(S, nets, H, K, B).permute(1, 0, 2, 4, 3)

    @torch.no_grad()
    def backward(self, x: Tensor, gradient: Tensor) -> None:
        """Overwrite ``gradients`` given d loss / d logits (nets, S, H, B, K) of the last ``forward(x)``.

        Once per forward pass: it uses up what that pass kept.
        """
        S, nets, H = self.grid
        M, K, B, D, p, g = (
            nets * H,
            self.n_classes,
            x.shape[1],
            self.n_features,
            self.parameters,
            self.gradients,
        )
        gz = gradient.permute(1, 0, 2, 4, 3).contiguous().view(S * M, K, B)
        torch.sum(gz, -1, keepdim=True, out=g["b"].view(S * M, K, 1))
        if self.kind == "linear":
            torch.bmm(gz.view(S, M * K, B), x, out=g["W"].view(S, M * K, D))
            return
        hidden = self._buffer("hidden", S * M, self.width, B)
        if self.kind == "mlp":
            outgoing = p["W"].view(S * M, K, -1)
            torch.bmm(gz, hidden.mT, out=g["W"].view(S * M, K, -1))
        else:
            outgoing = self._buffer("folded", S * M, K, self.width)
            g_folded = torch.bmm(gz, hidden.mT, out=self._buffer("g_folded", S * M, K, self.width))
            _bmm(p["W"].mT, g_folded, out=g["U"].view(S * M, D, -1))
            torch.bmm(gz.view(S, M * K, B), x[..., :D], out=g["W"].view(S, M * K, D))
            g["W"].view(S * M, K, D).baddbmm_(g_folded, p["U"].view(S * M, D, -1).mT)
        # The activations are used up: their gradient takes their place, which is still in cache.
        g_hidden = torch.bmm(outgoing.mT, gz, out=hidden)
        before = self._buffer("before", S * M, self.width, B)
        torch.ops.aten.gelu_backward.grad_input(g_hidden, before, grad_input=g_hidden)
        torch.bmm(g_hidden.view(S, -1, B), x[..., -D:], out=g["V"].view(S, -1, D))
        if self.kind == "mlp":
            torch.sum(g_hidden, -1, keepdim=True, out=g["c"].view(S * M, -1, 1))

    def _hidden(self, V: Tensor, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return GELU(V x + c), (S M, h, B), keeping what the backward pass needs."""
        S, M, h, D = V.shape
        before = self._buffer("before", S * M, h, x.shape[1])
        torch.bmm(V.view(S, M * h, D), x.mT, out=before.view(S, M * h, -1))
        if c is not None:
            before.add_(c.view(S * M, h, 1))
        return torch.ops.aten.gelu.out(before, out=self._buffer("hidden", *before.shape))

    def _buffer(self, name: str, *shape: int) -> Tensor:
        """Return a kept tensor of this name and shape; it grows and never shrinks."""
        size = math.prod(shape)
        kept = self._scratch.get(name)
        if kept is None or kept.numel() < size:
            kept = self._scratch[name] = self.flat.new_empty(size)
        return kept[:size].view(shape)

    def flops_per_sample(self) -> int:
        """Floating-point operations of one head's forward and backward pass for one sample."""
        D, K, h = self.n_features, self.n_classes, self.width
        first = {"linear": D * K, "mlp": D * h, "adapter": D * (h + K)}[self.kind]
        return 2 * (2 * first + 3 * h * K)  # no gradient flows to the features


def _views(flat: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    parts = flat.split([math.prod(shape) for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _bmm(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """Multiply head by head: leading axes (S, M) or (S M,) of `a`, `b` and `out` are one batch axis."""
    out_flat = out.view(-1, a.shape[-2], b.shape[-1])
    torch.bmm(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), out=out_flat)
    return out_flat


def _uniform(size: tuple[int, int], bound: float, kind: str, seed: int, net: int, name: str) -> Tensor:
    if bound == 0:
        return torch.zeros(size, dtype=torch.float64)
    generator = torch_generator("init", int(seed), net, kind, name)
    # Drawn in float64 and then rounded, so that float32 and float64 banks start alike.
    return (torch.rand(size, generator=generator, dtype=torch.float64) * 2 - 1) * bound
