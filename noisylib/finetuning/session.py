"""One network in training: its optimiser, what its rule remembers, and one step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisylib.errors import NoisylibError, require
from noisylib.features.backbones import Backbone
from noisylib.features.pixels import PixelSet
from noisylib.finetuning.batches import augment, extract, forward_mode, network_input
from noisylib.finetuning.checkpoint import pack_optimiser, unpack_optimiser
from noisylib.finetuning.network import ImageClassifier, make_classifier, parameter_groups
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.finetuning.rules import Rule
from noisylib.seeding import derive_seed


class Session:
    """A classifier in training, on one processor or on all processes that accelerate has started.

    Attributes
    ----------
    rows : (N,) rows of `pixels` that are trained on; a "position" counts in them.
    y : (N,) observed labels.
    memory : (N, K) what the rule remembers of each sample, or None; alike in all processes.
    """

    def __init__(
        self,
        pixels: PixelSet,
        rows: np.ndarray,
        y: np.ndarray,
        backbone: Backbone,
        n_classes: int,
        rule: Rule,
        recipe: FinetuneRecipe,
        precision: str,
        *,
        seed: int,
        head: tuple[np.ndarray, np.ndarray] | None,
        cpu: bool,
    ) -> None:
        self.pixels, self.backbone, self.rule, self.recipe = pixels, backbone, rule, recipe
        self.rows, self.y = (torch.from_numpy(np.array(part)) for part in (rows, y))
        self.precision, self.seed = precision, seed
        self.accelerator = _accelerator(cpu)
        dtype = torch.float64 if precision == "float64" else torch.float32
        classifier = make_classifier(backbone, n_classes, seed=seed, head=head, dtype=dtype)
        classifier = classifier.to(self.device)
        # The groups hold the parameters themselves, which stay when the module is wrapped.
        optimiser = torch.optim.AdamW(parameter_groups(classifier, recipe), fused=True)
        self.network, self.optimiser = self.accelerator.prepare(classifier, optimiser)
        memory = rule.memory(len(rows), n_classes)
        self.memory = None if memory is None else memory.to(self.device, dtype)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.accelerator.device

    @property
    def classifier(self) -> ImageClassifier:
        """The network without the wrapper of several processes."""
        return self.accelerator.unwrap_model(self.network)

    def step(
        self, epoch: int, step: int, steps: int, positions: Tensor, images: Tensor, draws: Tensor
    ) -> Tensor:
        """Train on one batch; return its summed loss, how many predictions agree, and the gradient norm.

        Parameters
        ----------
        epoch, step, steps : where in the training this is.
        positions : (B,) of the batch, the same in all processes.
        images : their pixels, (B, 3, H, W) uint8.
        draws : (N, 3) of the epoch, see `epoch_draws`.
        """
        factor = self.recipe.factor(epoch, step, steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        # Dropout is then the same whether the training was resumed or not.
        torch.manual_seed(derive_seed("dropout", self.seed, epoch, step, self.accelerator.process_index))
        parts = self._own_parts(len(positions))
        totals = torch.zeros(2, dtype=torch.float64, device=self.device)
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                totals += self._part(positions, images, draws, part)
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), self.recipe.clip or torch.inf)
        self.optimiser.step()
        self.optimiser.zero_grad()
        totals = self.accelerator.reduce(totals, "sum")
        return torch.cat([totals, norm.detach().to(totals).view(1)])

    def _own_parts(self, n: int) -> list[Tensor]:
        """Return which of the batch's n places each part of this process takes, one part per accumulation."""
        processes = self.accelerator.num_processes
        parts = torch.arange(n).tensor_split(self.recipe.accumulate * processes)
        own = list(parts[self.accelerator.process_index :: processes])
        # Alone, a process leaves out empty parts; among others it has to take part in every exchange.
        return own if processes > 1 else [part for part in own if len(part)]

    def _part(self, positions: Tensor, images: Tensor, draws: Tensor, places: Tensor) -> Tensor:
        """Add the gradient of a part of a batch; return its summed loss and its agreeing predictions."""
        B, empty = len(positions), not len(places)
        places = torch.zeros(1, dtype=torch.int64) if empty else places
        own = positions[places]
        part = images[places]
        if self.recipe.augment:
            part = augment(part, draws[own], self.pixels.sided)
        targets = self.y[own].to(self.device)
        with forward_mode(self.device, self.precision):
            logits = self.network(network_input(self.backbone, part, self.device, self.precision))
        logits = logits if self.precision == "float64" else logits.float()
        remembered = None if self.memory is None else self.memory[own.to(self.device)]
        losses, new = self.rule.losses(logits, targets, remembered)
        # Processes average their gradients, so that times their number gives the mean over the whole batch.
        share = 0.0 if empty else self.accelerator.num_processes / B
        self.accelerator.backward(losses.sum() * share)
        if new is not None:
            self._remember(own, new, empty)
        agree = (logits.detach().argmax(1) == targets).sum()
        return torch.stack([losses.detach().sum().double(), agree.double()]) * (not empty)

    def _remember(self, positions: Tensor, new: Tensor, empty: bool) -> None:
        """Put new rows into the memory, those of all processes into that of each."""
        positions = torch.full_like(positions, -1) if empty else positions
        positions = positions.to(self.device)
        if self.accelerator.num_processes > 1:
            pad = self.accelerator.pad_across_processes
            positions = self.accelerator.gather(pad(positions, pad_index=-1))
            new = self.accelerator.gather(pad(new.contiguous()))
        known = positions >= 0
        self.memory[positions[known]] = new[known]

    def losses(self, batch_size: int) -> np.ndarray:
        """Return the cross entropy (N,) of every training sample as it is, in eval mode, in nats."""
        return cross_entropy_of(self._spread(batch_size), self.y.numpy())

    def _spread(self, batch_size: int) -> np.ndarray:
        """Return the logits of all training samples; each process computes its share of them."""
        rows = self.rows.numpy()
        options = {"precision": self.precision, "batch_size": batch_size, "device": self.device}
        processes, process = self.accelerator.num_processes, self.accelerator.process_index
        if processes == 1 or len(rows) < processes:
            return extract(self.classifier, self.backbone, self.pixels, rows, **options)
        sizes = [len(part) for part in np.array_split(rows, processes)]
        own = np.array_split(rows, processes)[process]
        found = torch.as_tensor(extract(self.classifier, self.backbone, self.pixels, own, **options))
        padded = self.accelerator.pad_across_processes(found.to(self.device))
        gathered = self.accelerator.gather(padded).view(processes, max(sizes), -1).cpu()
        return torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)]).numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Return all that a checkpoint has to hold of the network."""
        state = {f"model.{name}": value for name, value in self.classifier.state_dict().items()}
        state |= pack_optimiser(self._bare_optimiser())
        return state if self.memory is None else state | {"memory": self.memory}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` took."""
        model = {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
        self.classifier.load_state_dict(model)
        unpack_optimiser(self._bare_optimiser(), tensors)
        if self.memory is not None:
            self.memory.copy_(tensors["memory"])

    def _bare_optimiser(self) -> torch.optim.Optimizer:
        return getattr(self.optimiser, "optimizer", self.optimiser)


def _accelerator(cpu: bool) -> Any:
    """Return what spreads the work over processes, and does nothing else.

    Precision and accumulation are the recipe's: what a user's settings of accelerate say of them would
    change the result.
    """
    accelerate = require("accelerate", "finetuning")
    plain = accelerate.utils.GradientAccumulationPlugin(num_steps=1)
    try:
        accelerator = accelerate.Accelerator(
            cpu=cpu, mixed_precision="no", gradient_accumulation_plugin=plain
        )
    except ValueError as error:
        raise NoisylibError(f"accelerate cannot start: {error}. Start a new process.") from error
    if (accelerator.device.type == "cpu") != cpu:
        raise NoisylibError(
            f"accelerate runs on {accelerator.device} in this process already, and cannot change to another "
            "device: start a new process."
        )
    return accelerator


def cross_entropy_of(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return -log softmax(logits)[y], (N,) float64 in nats, of logits (N, K)."""
    values = torch.as_tensor(logits, dtype=torch.float64)
    return torch.nn.functional.cross_entropy(values, torch.as_tensor(y), reduction="none").numpy()


@contextmanager
def memory_advice(recipe: FinetuneRecipe, device: torch.device) -> Iterator[None]:
    """Turn running out of memory into an error that says what to try."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_memory(error):
            raise
        at_once = -(-recipe.batch_size // recipe.accumulate)
        more = min(recipe.batch_size, 2 * recipe.accumulate)
        if at_once > 1:
            fix = (
                f"Try accumulate={more}, which takes {-(-recipe.batch_size // more)} at once, gives the same "
                f"training and goes on from a checkpoint; or batch_size={max(1, recipe.batch_size // 2)}."
            )
        else:
            fix = "One image does not fit: use a smaller image size or a smaller backbone."
        raise NoisylibError(
            f"out of memory on {device} with batch_size={recipe.batch_size} and accumulate="
            f"{recipe.accumulate}, {at_once} images at once. {fix} A checkpoint that was written is kept."
        ) from error


def _is_memory(error: Exception) -> Any:
    # The allocator of the CPU raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
