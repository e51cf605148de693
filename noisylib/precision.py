"""In which precision the matrix products of a training step are computed.

"float32" is the default and what all archived results were made with. "tf32" leaves every number in single
precision and lets an NVIDIA GPU round the factors of a product to 10 bits of mantissa. "bfloat16" keeps
features and the working copies of parameters and activations in 16 bits, 7 of them mantissa; the parameters
that the optimiser moves, their gradients and moments, losses and all evaluation stay in single precision.
A processor without instructions for bfloat16 gains nothing from it, and narrow features gain little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from noisylib import pages
from noisylib.errors import NoisylibError, check_name
from noisylib.heads import BatchRows, HeadBank, split_flat

PRECISIONS = ("float32", "tf32", "bfloat16")
LOW = torch.bfloat16


def check_precision(
    precision: str, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> str:
    """Return `precision` if there is such a one and device and dtype of the training allow it, or raise."""
    check_name("precision", precision, PRECISIONS)
    if precision == "float32":
        return precision
    if dtype != torch.float32:
        raise NoisylibError(
            f"precision={precision!r} with dtype={dtype}: only single precision can be lowered. "
            "Leave dtype at torch.float32, or precision at 'float32'."
        )
    if precision == "tf32" and device is not None and device.type != "cuda":
        raise NoisylibError(
            f"precision='tf32' on device={str(device)!r}: tf32 is of NVIDIA GPUs. Use 'float32' "
            "or 'bfloat16' here, or device='cuda'."
        )
    return precision


def feature_dtype(precision: str, dtype: torch.dtype) -> torch.dtype:
    """Return in which type features are kept while networks of `dtype` are trained."""
    return LOW if precision == "bfloat16" else dtype


@contextmanager
def products_in(precision: str, device: torch.device) -> Iterator[None]:
    """Let a GPU compute products in `precision`, whatever else is set, and set that again afterwards.

    These settings belong to the process. On a CPU there is nothing to set.
    """
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    kept = matmul.fp32_precision, matmul.allow_bf16_reduced_precision_reduction
    medium = _is_medium()
    # This sets torch's older and newer switch alike: where they disagree, asking for the older is an error.
    matmul.allow_tf32 = precision == "tf32"
    # A product that is cut into pieces adds them up in single precision.
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_tf32 = kept[0] == "tf32"
        if medium:
            torch.set_float32_matmul_precision("medium")
        matmul.fp32_precision, matmul.allow_bf16_reduced_precision_reduction = kept


def _is_medium() -> bool:
    """Return whether torch's older switch is at the one of its three places that no other says."""
    try:
        return torch.get_float32_matmul_precision() == "medium"
    except RuntimeError:  # the newer switch was set to something else
        return False


def head_bank(precision: str, *arguments: Any, **more: Any) -> HeadBank:
    """Return a `HeadBank` of these arguments whose products have `precision`."""
    return (BFloat16Heads if precision == "bfloat16" else HeadBank)(*arguments, **more)


class BFloat16Heads(HeadBank):
    """Heads whose training steps multiply in bfloat16, from parameters that are kept in single precision.

    A product adds up in single precision and is rounded once, to bfloat16; sums of products, biases, softmax
    and loss are single precision again, and so is all that `flat` and `flat_gradient` hold. bfloat16 has the
    range of single precision, so gradients need no scaling. `evaluate` rounds nothing but the features:
    logits of 8 bits would tie, and ties go to the lower class.

    Source: Kalamkar et al. 2019, "A study of BFLOAT16 for deep learning training", section 3.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        shapes = {name: tuple(part.shape) for name, part in self.parameters.items()}
        self._low, self._low_gradient = (
            pages.zeros(len(self.flat), dtype=LOW, device=self.flat.device) for _ in "pg"
        )
        self._low_parameters, self._low_gradients = (
            split_flat(x, shapes) for x in (self._low, self._low_gradient)
        )
        self._low_scratch: dict[str, Tensor] = {}
        self._low_at: dict[int, _LowViews] = {}

    def prepare(self, X: Tensor) -> Tensor:
        """Return features (..., D) as `forward` takes them, (..., F) in bfloat16."""
        return super().prepare(X).to(LOW)

    def gather(self, prepared: Tensor, index: Tensor) -> Tensor:
        """Return the rows `index` (S, B) of prepared features, (S, B, F), in a buffer that is kept."""
        v = self._low_views(index.shape[1])
        torch.index_select(prepared, 0, index.flatten(), out=v.rows)
        return v.x

    def evaluate(self, x: Tensor) -> Tensor:
        """Return logits as `forward`, of products in single precision."""
        return super().forward(x.to(self.flat.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 logits (nets, S, H, B, K) of batches (S, B, F) or (B, F), in a kept buffer."""
        v = self._low_views(x.shape[-2])
        _, plain, _, normalised = v.inputs(x)
        self._low.copy_(self.flat)
        if self.kind == "linear":
            torch.bmm(v.W, plain, out=v.low_z)
            torch.add(v.low_z_of_head, v.b, out=v.z_of_head)
            return v.logits
        torch.bmm(v.V, plain if self.kind == "mlp" else normalised, out=v.before)
        if self.kind == "mlp":
            v.before_rows.add_(v.c)
        torch.ops.aten.gelu.out(v.before, out=v.hidden)
        if self.kind == "mlp":
            torch.bmm(v.W, v.hidden_of_head, out=v.low_z_of_head)
            torch.add(v.low_z_of_head, v.b, out=v.z_of_head)
            return v.logits
        torch.bmm(v.W_of_head, v.U, out=v.folded)
        torch.bmm(v.folded, v.hidden_of_head, out=v.low_z_of_head)
        torch.add(v.low_z_of_head, v.b, out=v.z_of_head)
        torch.bmm(v.W, plain, out=v.low_z)
        v.z_of_head.add_(v.low_z_of_head)
        return v.logits

    def backward(self, x: Tensor, gradient: Tensor) -> None:
        """Overwrite ``gradients`` given d loss / d logits (nets, S, H, B, K) of the last ``forward(x)``."""
        v = self._low_views(x.shape[-2])
        plain, _, normalised, _ = v.inputs(x)
        exact = gradient.permute(1, 0, 2, 4, 3).contiguous().view(v.z_of_head.shape)
        gz = v.low_z_of_head.copy_(exact)
        mlp = self.kind == "mlp"
        if self.kind == "linear":
            torch.bmm(v.low_z, plain, out=v.g_W)
        else:
            torch.bmm(gz, v.hidden_of_head_T, out=v.g_W if mlp else v.g_folded)
            torch.bmm(v.outgoing_T, gz, out=v.hidden_of_head)
            torch.ops.aten.gelu_backward.grad_input(v.hidden, v.before, grad_input=v.hidden)
            torch.bmm(v.hidden, normalised, out=v.g_V)
        if self.kind == "adapter":
            torch.bmm(v.low_z, plain, out=v.g_W)
            torch.bmm(v.W_of_head_T, v.g_folded, out=v.g_U)
        self.flat_gradient.copy_(self._low_gradient)
        # What is a sum over samples or of two products is summed in single precision.
        torch.sum(exact, -1, keepdim=True, out=v.sum_b)
        if mlp:
            torch.sum(v.hidden_of_head, -1, keepdim=True, dtype=v.sum_c.dtype, out=v.sum_c)
        elif self.kind == "adapter":
            v.sum_W.add_(torch.bmm(v.g_folded, v.U_T))

    def _low_views(self, B: int) -> _LowViews:
        if B not in self._low_at:
            self._low_at[B] = _LowViews(self, B)
        return self._low_at[B]

    def low_buffer(self, name: str, *shape: int) -> Tensor:
        """Return a kept bfloat16 tensor, as `buffer`."""
        size = torch.Size(shape).numel()
        kept = self._low_scratch.get(name)
        if kept is None or kept.numel() < size:
            kept = self._low_scratch[name] = pages.empty(size, dtype=LOW, device=self.flat.device)
            self._low_at.clear()  # views of the smaller one
        return kept[:size].view(shape)


class _LowViews(BatchRows):
    """Views of a bank's bfloat16 copies and buffers, and of what stays in single precision, for B samples.

    Those called ``..._of_head`` have one matrix per head, the others one per seed.
    """

    def __init__(self, bank: BFloat16Heads, B: int) -> None:
        S, nets, H = bank.grid
        M, K, D, h = nets * H, bank.n_classes, bank.n_features, bank.width
        p, g, exact = bank._low_parameters, bank._low_gradients, bank.gradients
        # Not shared with evaluation, whose larger blocks would move it.
        self.z_of_head = torch.empty((S * M, K, B), dtype=bank.flat.dtype, device=bank.flat.device)
        self.logits = self.z_of_head.view(S, nets, H, K, B).permute(1, 0, 2, 4, 3)
        self.low_z = bank.low_buffer("z", S, M * K, B)
        self.low_z_of_head = self.low_z.view(S * M, K, B)
        self.b, self.sum_b = (x["b"].view(S * M, K, 1) for x in (bank.parameters, exact))
        self.W_of_head = p["W"].view(S * M, K, -1)
        if bank.kind == "mlp":
            self.c, self.sum_c = p["c"].view(S * M, h, 1), exact["c"].view(S * M, h, 1)
            self.W, self.g_W, self.outgoing_T = self.W_of_head, g["W"].view(S * M, K, h), self.W_of_head.mT
        else:
            self.W, self.g_W = (x["W"].view(S, M * K, D) for x in (p, g))
        if bank.kind != "linear":
            self.before, self.hidden = (bank.low_buffer(name, S, M * h, B) for name in ("before", "hidden"))
            self.before_rows, self.hidden_of_head = (x.view(S * M, h, B) for x in (self.before, self.hidden))
            self.hidden_of_head_T = self.hidden_of_head.mT
            self.V, self.g_V = (x["V"].view(S, M * h, D) for x in (p, g))
        if bank.kind == "adapter":
            self.folded, self.g_folded = (bank.low_buffer(n, S * M, K, h) for n in ("folded", "g_folded"))
            self.U, self.g_U = (x["U"].view(S * M, D, h) for x in (p, g))
            self.sum_W = exact["W"].view(S * M, K, D)
            self.outgoing_T, self.U_T, self.W_of_head_T = self.folded.mT, self.U.mT, self.W_of_head.mT
        super().__init__(bank.low_buffer("x", S * B, bank.n_inputs), S, D)
