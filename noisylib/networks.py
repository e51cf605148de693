"""The networks of every run of a bank: one bank of heads per kind, seen as one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from noisylib.heads import HeadBank
from noisylib.precision import head_bank


class Networks:
    """Banks of heads of several kinds that are trained on the same batches.

    Parameters
    ----------
    kinds : kind and number of networks per run of each bank; networks are numbered through.
    seeds, n_features, n_classes, runs_per_seed, width, device, dtype : as `HeadBank`.
    precision : of the products of a step, one of ``noisylib.precision.PRECISIONS``.

    Attributes
    ----------
    banks : one HeadBank per entry of `kinds`.
    """

    def __init__(
        self,
        kinds: Sequence[tuple[str, int]],
        seeds: Sequence[int],
        n_features: int,
        n_classes: int,
        *,
        runs_per_seed: int = 1,
        width: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        precision: str = "float32",
    ) -> None:
        self.banks: list[HeadBank] = []
        first = 0
        for kind, count in kinds:
            self.banks.append(
                head_bank(
                    precision,
                    kind,
                    seeds,
                    n_features,
                    n_classes,
                    n_nets=count,
                    first_net=first,
                    runs_per_seed=runs_per_seed,
                    width=width,
                    device=device,
                    dtype=dtype,
                )
            )
            first += count
        # The widest preparation begins with what the narrower ones need.
        self._widest = max(self.banks, key=lambda bank: bank.n_inputs)
        self._scratch: Tensor | None = None

    @property
    def parameters(self) -> list[Tensor]:
        """The flat parameters of each bank, for one optimiser."""
        return [bank.flat for bank in self.banks]

    @property
    def n_inputs(self) -> int:
        """F, columns of prepared features."""
        return self._widest.n_inputs

    def train_only(self, banks: Collection[int]) -> None:
        """Leave all but these banks out of the next steps: neither gradient nor weight decay moves them."""
        for position, bank in enumerate(self.banks):
            bank.flat.grad = bank.flat_gradient if position in banks else None

    def prepare(self, x: Tensor) -> Tensor:
        """Return features (..., D) as `forward` takes them, (..., F)."""
        return self._widest.prepare(x)

    def gather(self, prepared: Tensor, index: Tensor) -> Tensor:
        """Return the rows `index` (S, B) of prepared features (N, F), in a buffer that is kept."""
        return self._widest.gather(prepared, index)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (nets, S, H, B, K) of prepared batches (S, B, F) or (B, F), in a kept buffer."""
        if len(self.banks) == 1:
            return self.banks[0].forward(x)
        return self._joined([bank.forward(x[..., : bank.n_inputs]).mT for bank in self.banks])

    def evaluate(self, x: Tensor) -> Tensor:
        """Return logits as `forward` does, in the precision of the parameters."""
        if len(self.banks) == 1:
            return self.banks[0].evaluate(x)
        return self._joined([bank.evaluate(x[..., : bank.n_inputs]).mT for bank in self.banks])

    def _joined(self, parts: list[Tensor]) -> Tensor:
        """Return the logits (nets, S, H, K, B) of each bank as those of all networks, transposed."""
        shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
        if self._scratch is None or self._scratch.shape != shape:
            self._scratch = parts[0].new_empty(shape)
        return torch.cat(parts, out=self._scratch).mT

    def backward(self, x: Tensor, gradient: Tensor) -> None:
        """Overwrite all gradients given d loss / d logits of the last ``forward(x)``."""
        if len(self.banks) == 1:
            self.banks[0].backward(x, gradient)
            return
        first = 0
        for bank in self.banks:
            count = bank.grid[1]
            bank.backward(x[..., : bank.n_inputs], gradient[first : first + count])
            first += count
