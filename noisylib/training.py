"""train_bank: the one training loop. It trains R runs at once and never sees a clean training label."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from noisylib.devices import pick_device, send
from noisylib.layout import RunLayout
from noisylib.mapped import Windows
from noisylib.methods import BankContext, Batch, Method, TrainingFree, make_method
from noisylib.methods.losses import cross_entropy
from noisylib.networks import Networks
from noisylib.optimiser import FusedAdam
from noisylib.parts import EVALUATION_ROWS, merge, runs_at_once, train_halving
from noisylib.precision import check_precision, feature_dtype, products_in
from noisylib.recipe import Recipe
from noisylib.recorder import Recorder, RunResults
from noisylib.samples import MappedSamples, Samples, make_samples
from noisylib.seeding import torch_generator
from noisylib.validation import BankInputs, check_bank_inputs

LOOKED_UP = 64  # batches whose labels are looked up at once: what lies in a core's cache


def train_bank(
    X: np.ndarray,
    y_noisy: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    *,
    n_classes: int,
    method: str | Method = "ce",
    head: str = "adapter",
    seeds: Sequence[int] | None = None,
    noise_rates: Sequence[float] | None = None,
    noise_types: Sequence[str] | None = None,
    transitions: np.ndarray | None = None,
    views: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
    recipe: Recipe | None = None,
    trace: bool = False,
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
    precision: str = "float32",
    memory_limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunResults:
    """Train R heads with one method on one feature matrix, all at once, and score them.

    Parameters
    ----------
    X : (N, D) training features. They are z-scored with their own mean and deviation unless
        ``recipe.standardise`` is False.
    y_noisy : (R, N) or (N,) int, the observed labels of each run.
    X_test, y_test : (N_test, D) and (N_test,) clean evaluation data; only the evaluator reads them.
    n_classes : K.
    method : registry name or a configured method.
    head : "linear", "mlp" or "adapter". Some methods add networks of a kind of their own, and those
        that train no head ignore it.
    seeds : (R,) training seeds: they set the start of the heads and the batch order; default all 0.
        Runs that share a seed share both, which makes comparisons between them paired.
    noise_rates, noise_types, transitions : (R,) realised noise rates, (R,) names of noise types and
        (R, K, K) transition matrices, T[i, j] = P(noisy = j | true = i). Each is read only by methods
        that are told it, and may be left out for the others.
    views : (V, N, D) features of V augmented versions of each training sample, for methods that need
        views; without them such a method drops features at random.
    sample_weight : (R, N) or (N,), at least 0: each sample's part of the loss is multiplied by its weight,
        divided by the mean weight of its run. Batches, the z-score and whatever a method remembers or
        estimates stay as they are. For methods whose loss is a mean over samples.
    recipe : optimisation settings; the default is the package's.
    trace : also record per-sample losses, predictions and selections, and evaluate every epoch.
    device : "auto", "cpu", "cuda" or "cuda:N".
    dtype : torch.float32, or torch.float64 for checks.
    precision : of the products of a training step: "float32", "tf32" (NVIDIA GPUs) or "bfloat16", which
        also halves the memory of the features. See ``noisylib.precision``.
    memory_limit : bytes that features may take on the device, preparation included; None: half of what is
        free. Features that need more stay where they are, on disk if they are memory-mapped (as those of
        ``load_bank(..., mapped=True)``), and are read batch by batch: see ``noisylib.mapped``. Methods that
        look at all features at once cannot do that.
    progress : called after each epoch with (epochs done, epochs), summed over the runs.

    Returns
    -------
    RunResults, runs in the order of `y_noisy`. How many are trained at once follows from the device: as
    many as its cache (CPU) or its free memory (GPU) holds; if a GPU's runs out, half as many.

    Raises
    ------
    NoisylibError
        For features with NaN, labels out of range or of the wrong length, K = 1, a class absent from
        the test split, a fact the method must be told and is not, weights that the method cannot take,
        or an unknown head, device, method, precision or option.
    """
    recipe, method = recipe or Recipe(), make_method(method)
    inputs = check_bank_inputs(
        X, y_noisy, X_test, y_test, n_classes, method,
        seeds=seeds, noise_rates=noise_rates, noise_types=noise_types, transitions=transitions, views=views,
        sample_weight=sample_weight,
    )  # fmt: skip
    where = pick_device(device)
    check_precision(precision, where, dtype)
    if not method.n_nets:
        precision = "float32"  # no products of weights, and no reason to round distances
    samples = make_samples(
        inputs, recipe, where, feature_dtype(precision, dtype), method=method, head=head,
        memory_limit=memory_limit,
    )  # fmt: skip
    at_once = runs_at_once(
        method, head, n_samples=len(samples.X), n_features=samples.X.shape[1], n_classes=n_classes,
        recipe=recipe, device=where,
    )  # fmt: skip
    done, of = 0, len(inputs.seeds) * recipe.epochs

    def train(runs: list[int]) -> RunResults:
        nonlocal done
        bank = BankInTraining(inputs.take(runs), method, head, recipe, where, dtype, samples, precision)
        tell = None if progress is None else lambda epoch: progress(done + epoch * len(runs), of)
        results = _train(bank, np.asarray(y_test), trace, tell)
        done += len(runs) * recipe.epochs
        return results

    with products_in(precision, where):
        parts = train_halving(train, inputs.seeds, at_once if method.n_nets else len(inputs.seeds))
    return merge(parts)


def _train(
    bank: BankInTraining, y_test: np.ndarray, trace: bool, tell: Callable[[int], None] | None
) -> RunResults:
    """Train one bank from beginning to end; `tell` is called with the number of epochs done."""
    started, recorder = time.perf_counter(), Recorder(bank, y_test, trace)
    if isinstance(bank.method, TrainingFree):
        recorder.vote(bank.method)
        return recorder.results(time.perf_counter() - started)
    for epoch in range(bank.recipe.epochs):
        bank.train_epoch(epoch, recorder if trace else None)
        recorder.after_epoch(epoch)
        if tell is not None:
            tell(epoch + 1)
    return recorder.results(time.perf_counter() - started)


class BankInTraining:
    """Features, labels, networks, optimiser and method state of one call of `train_bank`.

    It is what a method sees of the loop: ``noisylib.methods.session.Training`` describes it.
    """

    def __init__(
        self,
        inputs: BankInputs,
        method: Method,
        head: str,
        recipe: Recipe,
        device: torch.device,
        dtype: torch.dtype,
        samples: Samples | MappedSamples | None = None,
        precision: str = "float32",
    ) -> None:
        self.method, self.recipe, self.device, self.dtype = method, recipe, device, dtype
        self.layout = RunLayout(inputs.seeds, apart=method.own_batches)
        self.precision = check_precision(precision, device, dtype)
        self.samples = samples or Samples(inputs, recipe, device, feature_dtype(precision, dtype))
        self.X, self.X_test, self._cached = self.samples.X, self.samples.X_test, self.samples.views
        self.y = self._spread(inputs.y_noisy)  # (S, H, N)
        weights = self._spread(inputs.sample_weight)
        self.sample_weight = None if weights is None else weights.to(dtype)
        self.context = BankContext(
            runs=tuple(self.y.shape[:2]),
            seeds=tuple(self.layout.seeds),
            n_samples=len(self.X),
            n_classes=inputs.n_classes,
            epochs=recipe.epochs,
            noise_rate=self._spread(inputs.noise_rates),
            asymmetric=self._spread(inputs.asymmetric),
            transition=self._spread(inputs.transitions),
            dtype=dtype,
            device=device,
        )
        self.state = {}
        if method.n_nets:
            self._build(head)

    def _build(self, head: str) -> None:
        self.networks = Networks(
            self.method.head_kinds(head),
            self.layout.seeds,
            self.X.shape[1],
            self.context.n_classes,
            runs_per_seed=self.layout.runs_per_seed,
            width=self.recipe.width,
            device=self.device,
            dtype=self.dtype,
            precision=self.precision,
        )
        self._prepared, self.X_test = self.samples.prepared(self.networks)
        if isinstance(self._prepared, Windows):  # features on disk gather their own rows
            self.rows, self._plain = self._prepared.gather, self._prepared.plain
        self.optimiser = FusedAdam(
            self.networks.parameters,
            learning_rate=self.recipe.learning_rate,
            weight_decay=self.recipe.weight_decay,
        )
        self.state = self.method.start(self)

    def _spread(self, values: np.ndarray | None) -> Tensor | None:
        return None if values is None else self.layout.spread(torch.as_tensor(values)).to(self.device)

    @property
    def view_source(self) -> str:
        """Where `views` come from; empty for methods that need none."""
        if not self.method.n_views:
            return ""
        return "feature dropout" if self._cached is None else "cached"

    def train_epoch(self, epoch: int, recorder: Recorder | None) -> None:
        """One pass over the epoch's samples, the last partial batch included."""
        self.optimiser.learning_rate = self.recipe.learning_rate_at(epoch)
        self.method.begin_epoch(self, epoch, self.state)
        for batch in self._batches(epoch):
            self.method.step(self, batch)
            if recorder is not None and batch.selected is not None:
                recorder.record_selection(batch.index, batch.selected)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; positions and labels are looked up for many of them at once."""
        own, size = self.method.order(self, epoch, self.state), self.recipe.batch_size
        order = self._shared_order(epoch) if own is None else own
        indices = order.split(size, dim=1)
        if isinstance(self._prepared, Windows):
            self._prepared.begin(indices)
        S, H, N = self.y.shape
        first = torch.arange(S * H, device=self.device).view(S, H, 1) * N
        for start in range(0, len(indices), LOOKED_UP):
            flat = first + order[:, start * size : (start + LOOKED_UP) * size].unsqueeze(1)  # (S, H, ...)
            # An order of the method's own may have positions of samples that it made up.
            labels = None if own is not None else self.y.take(flat).split(size, dim=2)
            for i, at in enumerate(flat.split(size, dim=2)):
                step = start + i
                observed = None if labels is None else labels[i]
                yield Batch(epoch, step, len(indices), indices[step], at, self.state, observed=observed)

    def _shared_order(self, epoch: int) -> Tensor:
        """Return the samples of an epoch, (S, N), in an order that depends on seed and epoch only."""
        orders = {
            seed: torch.randperm(len(self.X), generator=torch_generator("batches", seed, epoch))
            for seed in self.layout.seeds
        }
        return torch.stack([orders[seed] for seed in self.layout.seeds]).to(self.device)

    def rows(self, index: Tensor) -> Tensor:
        """Return prepared features (S, B, F) of the samples `index` (S, B), in a buffer that is kept."""
        return self.networks.gather(self._prepared, index)

    def _plain(self, index: Tensor) -> Tensor:
        """Return features (S, B, D) of the samples `index` (S, B), a copy."""
        return self.X.index_select(0, index.flatten()).view(*index.shape, -1)

    def prepare(self, x: Tensor) -> Tensor:
        """Return features (..., D) as the heads take them, (..., F)."""
        return self.networks.prepare(x)

    def labels(self, batch: Batch) -> Tensor:
        """Return the observed labels (S, H, B) of the batch."""
        if batch.observed is not None:
            return batch.observed
        return self.y.gather(2, batch.index.unsqueeze(1).expand_as(batch.flat_index))

    def weigh(self, gradient: Tensor, batch: Batch) -> Tensor:
        """Return d loss / d logits (nets, S, H, B, K), each part times its sample's weight, in place."""
        if self.sample_weight is None:
            return gradient
        where = batch.index.unsqueeze(1).expand_as(batch.flat_index)
        return gradient.mul_(self.sample_weight.gather(2, where).unsqueeze(-1))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (nets, S, H, B, K) in a buffer that the next call overwrites."""
        return self.networks.forward(x)

    def backward(self, x: Tensor, gradient: Tensor) -> None:
        """Set the gradients of all heads from d loss / d logits of the last `forward(x)`."""
        self.networks.backward(x, gradient)

    def step(self) -> None:
        """Take one step of the optimiser."""
        self.optimiser.step()

    def logits(self, prepared: Tensor) -> Iterator[Tensor]:
        """Yield (nets, S, H, rows, K) blocks over the rows of prepared features."""
        for rows in prepared.split(EVALUATION_ROWS):
            yield self.networks.evaluate(rows)

    def sweep(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield positions and logits (nets, S, H, rows, K) of all training samples, in blocks."""
        start = 0
        for z in self.logits(self._prepared):
            yield slice(start, start + z.shape[3]), z
            start += z.shape[3]

    def losses(self) -> Tensor:
        """Return the cross entropy (nets, S, H, N) float64 of every sample on its observed label."""
        blocks = [cross_entropy(z, self.y[:, :, rows]).double() for rows, z in self.sweep()]
        return torch.cat(blocks, dim=3)

    def views(self, batch: Batch, drops: Sequence[float]) -> Tensor:
        """Return one augmented version per entry of `drops`, (V, S, B, D), of the batch's features.

        Cached views are drawn at random, each at most once per sample. Without them, each feature
        is dropped (set to its mean, zero) with the probability given, and the others are scaled up.
        """
        seeds = [torch_generator("views", seed, batch.epoch, batch.step) for seed in self.context.seeds]
        B = batch.index.shape[1]
        if self._cached is not None:
            kept = len(self._cached)
            draws = [torch.rand((B, kept), generator=g).argsort(1)[:, : len(drops)].T for g in seeds]
            which = send(torch.stack(draws, dim=1), self.device)  # (V, S, B)
            return self._cached[which, batch.index].to(self.dtype)
        x = self._plain(batch.index).to(self.dtype)
        draws = [torch.rand((len(drops), B, x.shape[-1]), generator=g) for g in seeds]
        drop = torch.tensor(drops, dtype=torch.float64).view(-1, 1, 1, 1)
        keep = send(torch.stack(draws, dim=1) >= drop.float(), self.device)
        drop = send(drop, self.device)
        return torch.where(keep, (1 / (1 - drop)).to(x.dtype), 0).mul_(x)
