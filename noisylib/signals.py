"""What can be measured of every training sample without a clean label, for many runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from noisylib.analysis.detection import auroc
from noisylib.cross_validation import check_cross_validation, cross_validate
from noisylib.devices import pick_device
from noisylib.errors import NoisylibError
from noisylib.features.bank import FeatureBank
from noisylib.methods import make_method
from noisylib.neighbours import confirming_k, nearest
from noisylib.noise import NoisyLabels, told
from noisylib.recipe import Recipe
from noisylib.recorder import RunResults
from noisylib.samples import as_heads_see
from noisylib.training import BankInTraining, train_bank
from noisylib.validation import check_bank_inputs

VOTERS = 11  # nearest neighbours that are asked; also WANN's first number of voters
MOST_VOTERS = 51  # WANN's last number of voters


@dataclass(frozen=True, eq=False)
class Signals:
    """Signals of R runs on the N training samples of one bank. E epochs, K classes.

    No clean label enters a signal. The true labels `y` are there to judge the signals by. Other images of the
    same lesion or patient do enter: folds and neighbourhoods do not keep them apart, so where there are
    `groups`, what is out of fold knows more of a sample than of one from the test split.

    Attributes
    ----------
    y : (N,) int64 true labels.
    noisy : R observed labels and how they were made; a run is one of them with one training seed.
    seeds : (R,) training seeds.
    n_classes : K.
    groups : (N,) lesion or patient of each sample, or None where every sample is its own.
    classifier : results of cross entropy with the head under study, traced.
    probe : results of cross entropy with a linear head and the same seeds, traced. It is CUFIT's linear
        probing module. With a linear head under study it is the classifier itself.
    peer_losses : (R, N) nats, mean of Co-teaching's two networks after the last epoch; or None.
    held_out : (R, N, K) float64 out-of-fold class probabilities of cross entropy with the head under study.
    neighbours : (R, N) share of the 11 nearest other samples with the same observed label.
    confirming : (R, N) int64 neighbours it takes to confirm the observed label: 11, 13, ..., 51.
    y_test : (N_test,) int64 true labels of the test split.
    """

    y: np.ndarray
    noisy: tuple[NoisyLabels, ...]
    seeds: tuple[int, ...]
    n_classes: int
    groups: np.ndarray | None
    classifier: RunResults
    probe: RunResults
    peer_losses: np.ndarray | None
    held_out: np.ndarray
    neighbours: np.ndarray
    confirming: np.ndarray
    y_test: np.ndarray

    @property
    def y_noisy(self) -> np.ndarray:
        """(R, N) int64 observed labels."""
        return np.stack([labels.y_noisy for labels in self.noisy])

    @property
    def flipped(self) -> np.ndarray:
        """(R, N) bool, where the observed label is wrong."""
        return self.y_noisy != self.y

    @property
    def realised_rate(self) -> np.ndarray:
        """(R,) fraction of wrong labels."""
        return self.flipped.mean(1)

    @property
    def priors(self) -> np.ndarray:
        """(K,) share of each true class in the training split."""
        return np.bincount(self.y, minlength=self.n_classes) / len(self.y)

    @property
    def losses(self) -> np.ndarray:
        """(E, R, N) float32 nats, the classifier's cross entropy on the observed label after each epoch."""
        return self.classifier.trace["loss"][:, 0]

    @property
    def predicted(self) -> np.ndarray:
        """(E, R, N) the classifier's predictions after each epoch."""
        return self.classifier.trace["predicted"][:, 0]

    @property
    def probe_losses(self) -> np.ndarray:
        """(E, R, N) float32 nats, as `losses`, of the probe."""
        return self.probe.trace["loss"][:, 0]

    @property
    def probe_predicted(self) -> np.ndarray:
        """(E, R, N) as `predicted`, of the probe."""
        return self.probe.trace["predicted"][:, 0]

    @property
    def held_out_losses(self) -> np.ndarray:
        """(R, N) float64 nats, cross entropy of the out-of-fold probabilities on the observed label."""
        own = np.take_along_axis(self.held_out, self.y_noisy[..., None], -1)[..., 0]
        with np.errstate(divide="ignore"):  # a probability of 0 is an infinite loss
            return -np.log(own)

    @property
    def test_predicted(self) -> np.ndarray:
        """(R, N_test) the classifier's predictions for the test split after the last epoch."""
        return self.classifier.test_logits.argmax(-1)

    @property
    def probe_test_predicted(self) -> np.ndarray:
        """(R, N_test) as `test_predicted`, of the probe."""
        return self.probe.test_logits.argmax(-1)


def train_signals(
    bank: FeatureBank,
    noisy: Sequence[NoisyLabels],
    seeds: Sequence[int],
    *,
    head: str = "adapter",
    recipe: Recipe | None = None,
    peers: bool = True,
    folds: int = 5,
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
) -> Signals:
    """Train what the signals need, all runs at once, and return them.

    Parameters
    ----------
    bank : features and true labels; the signals are those of its training split.
    noisy, seeds : the observed labels of the training split and the training seed of each of R runs.
    head : "linear", "mlp" or "adapter", of the classifier, of Co-teaching and of the cross-validation.
    recipe : optimisation settings of all of them; the default is the package's.
    peers : whether to train Co-teaching. It is told each run's realised rate, and nothing else is.
    folds : parts of the cross-validation.
    device, dtype : as `noisylib.train_bank`.

    Raises
    ------
    NoisylibError
        As `noisylib.train_bank` and `noisylib.cross_validation.cross_validate`, for labels of another
        bank, and for 51 or fewer training samples.
    """
    recipe, noisy = recipe or Recipe(), tuple(noisy)
    (X, y), (X_test, y_test) = bank.part("train"), bank.part("test")
    _check(noisy, y)
    y_noisy = np.array([labels.y_noisy for labels in noisy])
    check_cross_validation(X, y_noisy, bank.n_classes, seeds, folds)
    shared = {"seeds": list(seeds), "recipe": recipe, "device": device, "dtype": dtype}

    def trained(kind: str) -> RunResults:
        split = (X, y_noisy, X_test, y_test)
        return train_bank(*split, n_classes=bank.n_classes, method="ce", head=kind, trace=True, **shared)

    classifier = trained(head)
    (seen,) = as_heads_see(X, recipe=recipe, device=pick_device(device), dtype=dtype)
    neighbours, confirming = _neighbourhood(seen, torch.as_tensor(y_noisy), bank.n_classes)
    return Signals(
        y=y,
        noisy=noisy,
        seeds=tuple(int(seed) for seed in seeds),
        n_classes=bank.n_classes,
        groups=None if bank.groups is None else bank.groups[bank.indices("train")],
        classifier=classifier,
        probe=classifier if head == "linear" else trained("linear"),
        peer_losses=_peer_losses(bank, noisy, head, **shared) if peers else None,
        held_out=cross_validate(X, y_noisy, n_classes=bank.n_classes, head=head, folds=folds, **shared),
        neighbours=neighbours,
        confirming=confirming,
        y_test=y_test,
    )


def best_epoch(signals: Signals) -> np.ndarray:
    """Return the epoch (R,) int64, from 0, whose loss tells wrong from right labels best, by AUROC.

    An oracle: it looks at the true labels, and shows what a perfect choice of the epoch would give. Of
    equal epochs it is the first.

    Raises
    ------
    NoisylibError
        A run has no wrong or no right label.
    """
    return auroc(-signals.losses, signals.flipped).argmax(0)


def _check(noisy: Sequence[NoisyLabels], y: np.ndarray) -> None:
    for run, labels in enumerate(noisy):
        if labels.y_noisy.shape != y.shape or not np.array_equal(labels.flipped, labels.y_noisy != y):
            raise NoisylibError(
                f"noisy[{run}] is not of the bank's training split: it has {len(labels.y_noisy)} labels for "
                f"{len(y)} samples, or calls others flipped than differ from the bank's labels. Inject the "
                "noise into bank.part('train')[1], as noisylib.comparison.noisy_labels does."
            )
    if len(y) <= MOST_VOTERS:
        raise NoisylibError(
            f"the bank's training split has {len(y)} samples: the signals of the neighbourhood need more "
            f"than {MOST_VOTERS}. Use a larger bank."
        )


def _peer_losses(
    bank: FeatureBank,
    noisy: Sequence[NoisyLabels],
    head: str,
    *,
    seeds: list[int],
    recipe: Recipe,
    device: str,
    dtype: torch.dtype,
) -> np.ndarray:
    """Return the mean loss (R, N) of Co-teaching's two networks after the last epoch.

    The loop of `train_bank` without its recorder: a trace of all epochs would be E times the size.
    """
    method = make_method("coteaching")
    inputs = check_bank_inputs(
        bank.part("train")[0], np.stack([labels.y_noisy for labels in noisy]), *bank.part("test"),
        bank.n_classes, method, seeds=seeds, **told(noisy),
    )  # fmt: skip
    training = BankInTraining(inputs, method, head, recipe, pick_device(device), dtype)
    for epoch in range(recipe.epochs):
        training.train_epoch(epoch, None)
    return training.layout.gather(training.losses().mean(0)).cpu().numpy()


def _neighbourhood(X: Tensor, y_noisy: Tensor, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the share (R, N) of the nearest others with the sample's label, and WANN's k (R, N)."""
    index, y = nearest(X, MOST_VOTERS), y_noisy.to(X.device)
    same = y[:, index[:, :VOTERS]] == y.unsqueeze(-1)  # (R, N, 11)
    confirming = confirming_k(index, y, VOTERS, n_classes)
    return same.double().mean(-1).cpu().numpy(), confirming.cpu().numpy()
