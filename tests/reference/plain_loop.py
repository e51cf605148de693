"""One run at a time, one sample at a time: every training rule written out from its equations.

Slow on purpose and built on nothing of noisylib except the names of its random generators, which
fix the start of the heads, the batch order and the draws. Gradients come from automatic
differentiation, while the package writes its backward pass by hand; Adam is written from its equations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from reference import losses, neighbours, rcal, remedies, semisupervised, turn
from reference.run import Batch, Rule, Run

RULES: dict[str, type[Rule]] = {
    "ce": losses.MeanLoss,
    "ls": losses.LabelSmoothing,
    "gce": losses.GCE,
    "tgce": losses.TruncatedGCE,
    "sce": losses.SCE,
    "elr": losses.ELR,
    "forward": losses.Forward,
    "forward_oracle": losses.ForwardOracle,
    "backward": losses.Backward,
    "coteaching": losses.CoTeaching,
    "jocor": losses.JoCoR,
    "coteaching_quota": remedies.Quota,
    "coteaching_class_tau": remedies.ClassTau,
    "coteaching_balanced": remedies.Balanced,
    "ce_balanced": remedies.BalancedSoftmax,
    "cufit": losses.CUFIT,
    "cl_prune": losses.ConfidentPrune,
    "dividemix": semisupervised.DivideMix,
    "unicon": semisupervised.UNICON,
    "turn": turn.TURN,
    "rcal": rcal.RCAL,
    "knn": neighbours.KNN,
    "ann": neighbours.ANN,
    "wann": neighbours.WANN,
}


def train(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    rule: Mapping[str, object],
    *,
    kind: str,
    seed: int,
    K: int,
    epochs: int,
    batch_size: int,
    lr: float,
    decay: float,
    decay_at: tuple[float, ...],
    width: int,
    views: np.ndarray | None = None,
) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """Return the test scores (E, N_test, K) after every epoch, and the heads at the end.

    A rule that trains nothing scores once: E is 1.
    `rule` names the method under "name" and holds its hyper-parameters and what it is told.
    """
    rule = RULES[rule["name"]](**{key: value for key, value in rule.items() if key != "name"})
    mean = X.mean(0)
    std = X.std(0)
    std[std == 0] = 1
    X, X_test = torch.as_tensor((X - mean) / std), torch.as_tensor((X_test - mean) / std)
    views = None if views is None else torch.as_tensor((views - mean) / std)
    run = Run(X, [int(label) for label in y], K, seed, epochs, batch_size, lr, decay, decay_at, width, views)
    run.add_networks(rule.networks(kind))
    rule.prepare(run)
    history = []
    for epoch in range(epochs if run.heads else 1):
        if run.heads:
            train_epoch(run, rule, epoch)
        with torch.no_grad():
            history.append(torch.stack([rule.scores(run, x) for x in X_test]).numpy())
    return np.stack(history), [{n: p.detach().numpy() for n, p in head.items()} for head in run.heads]


def train_epoch(run: Run, rule: Rule, epoch: int) -> None:
    """One pass over the epoch's data in batches, the last partial one included."""
    rule.begin_epoch(run, epoch)
    order = rule.order(run, epoch)
    batches = [order[first : first + run.batch_size] for first in range(0, len(order), run.batch_size)]
    for step, samples in enumerate(batches):
        run.step(rule.losses(run, Batch(epoch, step, len(batches), samples)), epoch)
