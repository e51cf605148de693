"""finetune: the training loop of a backbone that moves. It never sees a clean training label."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noisylib.errors import NoisylibError
from noisylib.features.backbones import Backbone
from noisylib.features.pixels import PixelSet
from noisylib.finetuning.batches import ahead, epoch_draws, extract, settle_precision
from noisylib.finetuning.checkpoint import load_state, remove_state, save_state
from noisylib.finetuning.inputs import check_device, check_inputs, digest_of, fingerprint
from noisylib.finetuning.probe import probe_head
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.finetuning.rules import Rule
from noisylib.finetuning.selection import Selection, select
from noisylib.finetuning.session import Session, cross_entropy_of, memory_advice
from noisylib.finetuning.tuned import EpochRecord, FineTuned
from noisylib.finetuning.turn import Turn, make_tuning
from noisylib.seeding import torch_generator

log = logging.getLogger(__name__)
FEW = 5  # clean samples of the poorest class below which a warning is logged
_SELECTION = ("losses", "posterior", "clean", "drawn", "counts")


@dataclass
class _Run:
    """The progress of a training, as a checkpoint keeps it."""

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    tuning: float = 0.0  # seconds of the present epoch
    seconds: dict[str, float] = field(
        default_factory=lambda: {"features": 0.0, "probe": 0.0, "cleaning": 0.0, "tuning": 0.0}
    )
    records: list[dict[str, Any]] = field(default_factory=list)
    selections: dict[int, Selection] = field(default_factory=dict)

    def place(self) -> dict[str, Any]:
        """Return the plain part."""
        content = {
            name: getattr(self, name) for name in ("epoch", "step", "sums", "tuning", "seconds", "records")
        }
        return content | {"n": {str(epoch): selection.n for epoch, selection in self.selections.items()}}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the selections."""
        return {
            f"selection.{epoch}.{name}": torch.as_tensor(getattr(selection, name))
            for epoch, selection in self.selections.items()
            for name in _SELECTION
        }

    @classmethod
    def restored(cls, place: dict[str, Any], tensors: dict[str, torch.Tensor]) -> _Run:
        """Return the progress that a checkpoint holds."""
        smallest = place.pop("n")
        run = cls(**place)
        for epoch, n in smallest.items():
            arrays = {name: tensors[f"selection.{epoch}.{name}"].numpy() for name in _SELECTION}
            run.selections[int(epoch)] = Selection(**arrays, n=n)
        return run


def finetune(
    pixels: PixelSet,
    rows: np.ndarray,
    y_noisy: np.ndarray,
    backbone: Backbone,
    *,
    n_classes: int,
    method: str | Rule = "turn",
    seed: int = 0,
    recipe: FinetuneRecipe | None = None,
    features: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 50,
    device: str = "auto",
    watch: Callable[[EpochRecord], None] | None = None,
    progress: Callable[[float], None] | None = None,
) -> FineTuned:
    """Fine-tune a backbone and a linear head on noisy labels.

    Parameters
    ----------
    pixels, rows : the images, and the (N,) rows of them to train on.
    y_noisy : (N,) int observed labels of these rows. The labels in `pixels` are not read.
    backbone : where the training starts; it stays as it is.
    n_classes : K.
    method : "ce", "gce", "elr" (a new head, all samples) or "turn", or one of these with other options.
    seed : of a new head, the batch order, the augmentation and TURN's draws.
    recipe : optimisation settings.
    features : (N, D) of the frozen backbone for the rows, for TURN's probe; extracted if not given.
    checkpoint : folder to keep a checkpoint in, and to go on from if it has one; removed at the end.
    checkpoint_every : steps between checkpoints; each epoch also ends with one.
    device : "auto", "cpu" or "cuda". Several processes, started by ``accelerate launch`` (on CPUs by
        ``torchrun``), each take a device of their own and their part of every batch.
    watch : called with the record of each epoch as it ends.
    progress : called with the fraction done, in (0, 1], after each step.

    Raises
    ------
    NoisylibError
        Labels, rows or features that do not fit, an empty clean set, a loss that is not finite, a checkpoint
        of another training, or too little memory. A checkpoint that was written stays.

    Source: Ahn et al. 2024 for TURN; GCE and ELR as `noisylib.finetuning.rules` says.
    """
    rule, recipe = make_tuning(method), recipe or FinetuneRecipe()
    rows, y_noisy, features = check_inputs(pixels, rows, y_noisy, n_classes, features, backbone)
    target = check_device(device, checkpoint_every)
    precision = settle_precision(recipe.precision, target)
    mark = fingerprint(pixels, rows, y_noisy, backbone, n_classes, rule, seed, recipe, precision)
    if features is not None:
        mark["features"] = digest_of(features)
    devices = [target] if target.type == "cuda" else []
    with torch.random.fork_rng(devices), memory_advice(recipe, target):
        saved = load_state(checkpoint, mark) if checkpoint is not None else None
        run = _Run.restored(saved[1], saved[0]) if saved else _Run()
        head = None
        if isinstance(rule, Turn) and saved is None:
            head, first = _probe(
                pixels, rows, y_noisy, backbone, n_classes, rule, seed, precision, features, run.seconds
            )
            run.selections[0] = first
        session = Session(
            pixels, rows, y_noisy, backbone, n_classes, rule, recipe, precision,
            seed=seed, head=head, cpu=target.type == "cpu",
        )  # fmt: skip
        if saved:
            session.restore(saved[0])
            log.info("going on from epoch %d, step %d", run.epoch, run.step)

        def keep() -> None:
            if checkpoint is not None and session.accelerator.is_main_process:
                save_state(checkpoint, session.tensors() | run.tensors(), mark, run.place())

        if run.selections and saved is None:
            keep()  # the probe is not trained again
        while run.epoch < recipe.epochs:
            _epoch(session, run, n_classes, keep, checkpoint_every, progress)
            keep()
            if watch is not None:
                watch(_record(run, run.epoch - 1))
    if checkpoint is not None:
        if session.accelerator.is_main_process:
            remove_state(checkpoint)
        # Another process that trains again in this folder must not find what is being removed.
        session.accelerator.wait_for_everyone()
    history = [_record(run, epoch) for epoch in range(recipe.epochs)]
    return FineTuned(session.classifier.eval(), backbone, history, run.seconds, precision)


def _probe(
    pixels: PixelSet,
    rows: np.ndarray,
    y_noisy: np.ndarray,
    backbone: Backbone,
    n_classes: int,
    rule: Turn,
    seed: int,
    precision: str,
    features: np.ndarray | None,
    seconds: dict[str, float],
) -> tuple[tuple[np.ndarray, np.ndarray], Selection]:
    """Return the head of TURN's first phase, and what its losses select: no image is read for either."""
    from noisylib.methods.gce import GeneralisedCrossEntropy

    if features is None:
        with _clock(seconds, "features"):
            # The frozen network is in single precision, also where the tuned copy is checked in double.
            frozen = "float32" if precision == "float64" else precision
            features = extract(backbone.model, backbone, pixels, rows, precision=frozen)
    with _clock(seconds, "probe"):
        W, b = probe_head(
            features, y_noisy, n_classes,
            method=GeneralisedCrossEntropy(q=rule.q), epochs=rule.probe_epochs, seed=seed, device="cpu",
        )  # fmt: skip
    with _clock(seconds, "cleaning"):
        losses = cross_entropy_of(features.astype(np.float64) @ W.T + b, y_noisy)
        return (W, b), _select(losses, y_noisy, n_classes, rule, seed, 0)


def _epoch(
    session: Session,
    run: _Run,
    n_classes: int,
    keep: Callable[[], None],
    every: int,
    progress: Callable[[float], None] | None,
) -> None:
    """Train one epoch, or what is left of it, and move `run` to the next."""
    epoch, recipe = run.epoch, session.recipe
    batches = list(_order(session, run, n_classes).split(recipe.batch_size))
    draws = epoch_draws(len(session.rows), session.seed, epoch)

    def load(part: torch.Tensor) -> torch.Tensor:
        return session.pixels.take(session.rows[part])

    session.network.train()
    started, before = time.perf_counter(), run.tuning
    for part, images in ahead(load, batches[run.step :], session.device.type != "cpu"):
        totals = session.step(epoch, run.step, len(batches), part, images, draws).tolist()
        run.sums = [a + b for a, b in zip(run.sums, totals, strict=True)]
        run.step += 1
        run.tuning = before + time.perf_counter() - started
        if not np.isfinite(run.sums).all():
            raise NoisylibError(
                f"the loss is not finite in epoch {epoch}, step {run.step - 1}: lr_backbone="
                f"{recipe.lr_backbone} or lr_head={recipe.lr_head} is too high, or clip={recipe.clip} too "
                "weak. The last checkpoint is kept."
            )
        if progress is not None:
            progress((epoch + run.step / len(batches)) / recipe.epochs)
        if run.step % every == 0 and run.step < len(batches):
            keep()
    images = sum(len(part) for part in batches)
    loss, agree, norm = run.sums
    record = {"loss": loss / images, "agreement": agree / images, "gradient_norm": norm / len(batches)}
    run.records.append(record | {"steps": len(batches), "images": images, "seconds": run.tuning})
    run.seconds["tuning"] += run.tuning
    run.epoch, run.step, run.sums, run.tuning = epoch + 1, 0, [0.0, 0.0, 0.0], 0.0


def _order(session: Session, run: _Run, n_classes: int) -> torch.Tensor:
    """Return the positions of an epoch in the order of training; for TURN, of those that it draws."""
    epoch, positions = run.epoch, torch.arange(len(session.rows))
    if isinstance(session.rule, Turn):
        if epoch not in run.selections:
            with _clock(run.seconds, "cleaning"):
                losses, y = session.losses(session.recipe.batch_size), session.y.numpy()
                run.selections[epoch] = _select(losses, y, n_classes, session.rule, session.seed, epoch)
        positions = torch.as_tensor(run.selections[epoch].drawn).nonzero().flatten()
    generator = torch_generator("batches", session.seed, epoch)
    return positions[torch.randperm(len(positions), generator=generator)]


def _record(run: _Run, epoch: int) -> EpochRecord:
    return EpochRecord(epoch=epoch, **run.records[epoch], selection=run.selections.get(epoch))


def _select(
    losses: np.ndarray, y_noisy: np.ndarray, n_classes: int, rule: Turn, seed: int, epoch: int
) -> Selection:
    found = select(losses, y_noisy, n_classes, tau=rule.tau, balanced=rule.balanced, seed=seed, epoch=epoch)
    if rule.balanced and found.n < FEW:
        observed = np.bincount(y_noisy, minlength=n_classes) > 0
        poorest = int(np.where(observed, found.counts, found.counts.max() + 1).argmin())
        log.warning(
            "epoch %d: class %d has %d clean samples, so no class gives more: %d of %d are trained on",
            epoch, poorest, found.n, int(found.drawn.sum()), len(y_noisy),
        )  # fmt: skip
    return found


@contextmanager
def _clock(seconds: dict[str, float], phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[phase] += time.perf_counter() - started
