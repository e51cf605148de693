"""Fine-tuning a whole network one image at a time, written out from its equations.

A step takes the gradient of the mean loss of its images, scales it to the largest norm allowed, and moves
every parameter by AdamW with the rate of its depth. Gradients come from automatic differentiation of one
image after the other; everything else is written here, and nothing of noisylib is used but the names of
its random generators, which fix the order of the images and what TURN draws.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from reference.heads import F64, ce
from reference.losses import ELR, GCE, MeanLoss
from reference.mixture import low_posterior, scale_to_unit
from torch import Tensor, nn

from noisylib.seeding import torch_generator

EMBEDDINGS = ("patch_embed", "cls_token", "pos_embed")
FEWEST = 4  # samples of a class below which a mixture says nothing


@dataclass(frozen=True)
class Settings:
    """What moves the parameters and how far; the names and meanings of the package's recipe."""

    epochs: int = 3
    batch_size: int = 8
    lr_backbone: float = 1e-3
    lr_head: float = 1e-2
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    warmup: float = 0.1
    schedule: str = "cosine"
    clip: float = 1.0


@dataclass
class Trained:
    """Network and what was seen of its training: mean loss and gradient norms of each epoch."""

    body: nn.Module
    head: dict[str, Tensor]
    loss: list[float] = field(default_factory=list)
    norms: list[list[float]] = field(default_factory=list)
    rates: list[list[float]] = field(default_factory=list)
    clean: list[list[int]] = field(default_factory=list)
    drawn: list[list[int]] = field(default_factory=list)

    def logits(self, image: Tensor) -> Tensor:
        """Scores (K,) of one normalised image (3, H, W)."""
        return self.head["W"] @ self.body(image[None])[0] + self.head["b"]

    def parameters(self) -> dict[str, Tensor]:
        return {**dict(self.body.named_parameters()), "W": self.head["W"], "b": self.head["b"]}


def tune(
    body: nn.Module,
    W: Tensor,
    b: Tensor,
    images: Tensor,
    y: list[int],
    rule: MeanLoss | GCE | ELR,
    settings: Settings,
    seed: int,
    cleaning: tuple[float, bool] | None = None,
) -> Trained:
    """Train on normalised images (N, 3, H, W); `cleaning` is TURN's tau and whether its draw is balanced."""
    body = copy.deepcopy(body).to(F64).eval().requires_grad_(True)
    trained = Trained(body, {"W": W.to(F64).clone(), "b": b.to(F64).clone()})
    for value in trained.head.values():
        value.requires_grad_(True)
    images, depth = images.to(F64), depth_of(body)
    memory = {name: [torch.zeros_like(p), torch.zeros_like(p)] for name, p in trained.parameters().items()}
    steps = 0
    for epoch in range(settings.epochs):
        chosen = list(range(len(y)))
        if cleaning is not None:
            chosen = draw(trained, images, y, seed, epoch, *cleaning)
        order = [chosen[j] for j in visiting(len(chosen), seed, epoch)]
        cut = range(0, len(order), settings.batch_size)
        trained.loss.append(0.0)
        trained.norms.append([])
        trained.rates.append([])
        for first in cut:
            batch = order[first : first + settings.batch_size]
            each = [rule.sample_loss(trained.logits(images[i]), y[i], i) for i in batch]
            mean = sum(each) / len(batch)
            trained.loss[-1] += sum(one.item() for one in each) / len(order)
            # Time is taken in the middle of a step.
            time = (epoch + (first // settings.batch_size + 0.5) / len(cut)) / settings.epochs
            factor = factor_at(time, settings)
            steps += 1
            norm = step(trained, memory, mean, factor, depth, settings, steps)
            trained.norms[-1].append(norm)
            trained.rates[-1].append(factor)
    return trained


def step(
    trained: Trained,
    memory: dict[str, list[Tensor]],
    loss: Tensor,
    factor: float,
    depth: dict[str, int],
    settings: Settings,
    count: int,
) -> float:
    """Move every parameter once; return the norm of the whole gradient before it was clipped.

    AdamW: Loshchilov and Hutter 2019, algorithm 2. Vectors (biases, gains) do not decay, nor what is added
    to the embedded image.
    """
    parameters = trained.parameters()
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    norm = math.sqrt(sum((g**2).sum().item() for g in gradients))
    scale = min(1.0, settings.clip / (norm + 1e-6)) if settings.clip else 1.0
    deepest = max(depth.values())
    with torch.no_grad():
        for (name, p), g in zip(parameters.items(), gradients, strict=True):
            if name in trained.head:
                rate = settings.lr_head
            else:
                rate = settings.lr_backbone * settings.layer_decay ** (deepest - depth[name])
            rate = factor * rate
            free = p.ndim == 1 or name in ("cls_token", "pos_embed")
            decay = 0.0 if free else settings.weight_decay
            m, v = memory[name]
            m.copy_(0.9 * m + 0.1 * scale * g)
            v.copy_(0.999 * v + 0.001 * (scale * g) ** 2)
            m_hat, v_hat = m / (1 - 0.9**count), v / (1 - 0.999**count)
            p.copy_(p - rate * decay * p - rate * m_hat / (torch.sqrt(v_hat) + 1e-8))
    return norm


def factor_at(time: float, settings: Settings) -> float:
    """Factor of the rates at a time in (0, 1): a line up to 1, then half a cosine down to 0."""
    if time < settings.warmup:
        return time / settings.warmup
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (time - settings.warmup) / (1 - settings.warmup)))


def depth_of(body: nn.Module) -> dict[str, int]:
    """Depth of each parameter of a transformer: embeddings 0, blocks 1 to L, what follows them L as well."""
    names = [name for name, _ in body.named_parameters()]
    depth = {name: int(name.split(".")[1]) + 1 for name in names if name.startswith("blocks.")}
    return {
        name: 0 if name.startswith(EMBEDDINGS) else depth.get(name, max(depth.values())) for name in names
    }


def start_head(seed: int, K: int, D: int) -> tuple[Tensor, Tensor]:
    """Return a new head: weights (K, D) of deviation 0.01 and no bias."""
    generator = torch_generator("head", seed)
    return 0.01 * torch.randn(K, D, generator=generator, dtype=F64), torch.zeros(K, dtype=F64)


def visiting(n: int, seed: int, epoch: int) -> list[int]:
    """Order of the n images of an epoch."""
    return torch.randperm(n, generator=torch_generator("batches", seed, epoch)).tolist()


@torch.no_grad()
def draw(
    trained: Trained, images: Tensor, y: list[int], seed: int, epoch: int, tau: float, balanced: bool
) -> list[int]:
    """What TURN trains on in an epoch, in ascending order: Ahn et al. 2024, algorithm 1, steps a to e."""
    own = np.array([ce(trained.logits(x), c).item() for x, c in zip(images, y, strict=True)])
    posterior = own_posterior(own, y)
    clean = {}
    for c in sorted(set(y)):
        members = [i for i in range(len(y)) if y[i] == c]
        best = max(members, key=lambda i: (posterior[i], -i))
        clean[c] = [i for i in members if posterior[i] > tau] or [best]
    trained.clean.append(sorted(i for members in clean.values() for i in members))
    chosen = trained.clean[-1]
    if balanced:
        n = min(len(members) for members in clean.values())
        generator = torch_generator("redraw", seed, epoch)
        keys = torch.rand(len(y), generator=generator, dtype=F64).tolist()
        chosen = sorted(i for m in clean.values() for i in sorted(m, key=lambda i: (keys[i], i))[:n])
    trained.drawn.append(chosen)
    return chosen


def own_posterior(losses: np.ndarray, y: list[int]) -> np.ndarray:
    """Probability (N,) that a sample's loss is of the lower of two components of its observed class."""
    found = np.ones(len(y))
    for c in set(y):
        members = [i for i in range(len(y)) if y[i] == c]
        if len(members) >= FEWEST:
            found[members] = low_posterior(scale_to_unit(losses[members]))
    return found


def plain_em(values: np.ndarray, rounds: int = 10, tol: float = 1e-2, floor: float = 5e-4) -> np.ndarray:
    """Posterior (n,) of the lower of two Gaussians, by expectation and maximisation written out.

    Start: the two means that minimise squared distances, found from the mean of the values on. A round
    ends the fit if the mean log-likelihood grew by less than `tol`.
    """
    edge, before = values.mean(), None
    while edge != before:
        low = values <= edge
        edge, before = (values[low].mean() + values[~low].mean()) / 2, edge
    share = np.stack([low, ~low], 1).astype(float)
    reached = -np.inf
    weight, mean, variance = _maximise(values, share, floor)
    for _ in range(rounds):
        density = weight * np.exp(-((values[:, None] - mean) ** 2) / (2 * variance))
        density /= np.sqrt(2 * np.pi * variance)
        level = np.log(density.sum(1)).mean()
        weight, mean, variance = _maximise(values, density / density.sum(1, keepdims=True), floor)
        if abs(level - reached) < tol:
            break
        reached = level
    density = weight * np.exp(-((values[:, None] - mean) ** 2) / (2 * variance)) / np.sqrt(variance)
    return density[:, mean.argmin()] / density.sum(1)


def _maximise(values: np.ndarray, share: np.ndarray, floor: float) -> tuple[np.ndarray, ...]:
    total = share.sum(0)
    mean = (share * values[:, None]).sum(0) / total
    variance = (share * (values[:, None] - mean) ** 2).sum(0) / total + floor
    return total / len(values), mean, variance
