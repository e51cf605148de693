"""What the chapter on the methods trains on two made features, where Bayes' rule is known, and its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisylib.book.tables import mean_sd, method_titles
from noisylib.data.simulate import GaussianBed
from noisylib.noise import NoisyLabels, inject
from noisylib.recipe import Recipe
from noisylib.training import train_bank

if TYPE_CHECKING:
    import pandas as pd

POINTS = 101  # of the grid, each way
MARGIN = 4.0  # standard deviations between the outermost mean and the edge of the grid
BAYES = "bayes"


@dataclass(frozen=True, eq=False)
class Scene:
    """One draw of training points, their wrong labels, and a grid on which predictions are looked at.

    Attributes
    ----------
    bed : the classes; it knows the posterior of every point.
    X, y : (N, 2) and (N,) training points and their true labels.
    noisy : noise type -> what each seed injected.
    seeds : of the noise and of the training.
    ticks : (G,) coordinates of the grid, the same both ways.
    """

    bed: GaussianBed
    X: np.ndarray
    y: np.ndarray
    noisy: Mapping[str, list[NoisyLabels]]
    seeds: Sequence[int]
    ticks: np.ndarray

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.bed.priors)

    @property
    def grid(self) -> np.ndarray:
        """(G * G, 2) points of the grid; the first feature runs fastest."""
        across, up = np.meshgrid(self.ticks, self.ticks)
        return np.stack([across.ravel(), up.ravel()], axis=1)

    def expected_recall(self, predicted: np.ndarray) -> np.ndarray:
        """Return P(predicted = c | y = c), (..., K), of predictions (..., G * G) on the grid.

        An integral and not a test sample, so that differences between methods are not luck of the draw.
        """
        density = np.exp(-self.bed.squared_distances(self.grid) / 2)  # (G * G, K), up to a factor
        density /= density.sum(0)
        classes = range(self.n_classes)
        return np.stack([(predicted == c) @ density[:, c] for c in classes], axis=-1)


def make_scene(
    separation: float,
    priors: Sequence[float],
    noise_types: Sequence[str],
    noise_rate: float,
    samples: int,
    seeds: Sequence[int],
) -> Scene:
    """Return a scene with class means on a circle; asymmetric noise takes each class for the next one.

    Parameters
    ----------
    separation : distance of neighbouring means in standard deviations.
    priors : one share per class; they are scaled to sum to 1.
    seeds : one draw of the wrong labels each; the points are the same.
    """
    K = len(priors)
    bed = GaussianBed.circle(K, separation, np.asarray(priors) / np.sum(priors))
    X, y = bed.sample(samples, seed=0)
    class_map = {c: (c + 1) % K for c in range(K)}
    noisy = {
        noise_type: [
            inject(y, noise_type, noise_rate, n_classes=K, seed=seed, dataset="bed", class_map=class_map)
            for seed in seeds
        ]
        for noise_type in noise_types
    }
    edge = np.abs(bed.means).max() + MARGIN * np.sqrt(bed.covariance.diagonal().max())
    return Scene(bed, X, y, noisy, seeds, np.linspace(-edge, edge, POINTS))


def train_on_scene(
    scene: Scene, methods: Sequence[str], *, head: str, recipe: Recipe
) -> dict[str, np.ndarray]:
    """Return what each method predicts on the grid after training, (noise types, seeds, G * G).

    All noise types and seeds of a method are one bank of runs.
    """
    labels = [noisy for draws in scene.noisy.values() for noisy in draws]
    bayes = scene.bed.bayes_predict(scene.grid)
    predicted = {}
    for method in methods:
        run = train_bank(
            scene.X,
            np.stack([noisy.y_noisy for noisy in labels]),
            scene.grid,
            bayes,  # the scores against it are not used
            n_classes=scene.n_classes,
            method=method,
            head=head,
            seeds=list(scene.seeds) * len(scene.noisy),
            noise_rates=[noisy.realised_rate for noisy in labels],
            noise_types=[noisy.noise_type for noisy in labels],
            transitions=np.stack([noisy.realised_T for noisy in labels]),
            recipe=recipe,
        )
        shape = (len(scene.noisy), len(scene.seeds), -1)
        predicted[method] = run.test_logits.argmax(-1).reshape(shape)
    return predicted


def bed_scores(scene: Scene, predicted: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return one row per method, noise type and seed: accuracy and balanced_accuracy in [0, 1].

    Bayes' rule, method "bayes", has a row per noise type and seed too; it does not depend on them.
    """
    import pandas as pd

    shape = (len(scene.noisy), len(scene.seeds), len(scene.grid))
    every = {**predicted, BAYES: np.broadcast_to(scene.bed.bayes_predict(scene.grid), shape)}
    records = []
    for method, answers in every.items():
        recall = scene.expected_recall(answers)  # (noise types, seeds, K)
        for n, noise_type in enumerate(scene.noisy):
            for s, seed in enumerate(scene.seeds):
                records.append(
                    {
                        "method": method,
                        "noise_type": noise_type,
                        "seed": seed,
                        "accuracy": float(recall[n, s] @ scene.bed.priors),
                        "balanced_accuracy": float(recall[n, s].mean()),
                    }
                )
    return pd.DataFrame(records)


def bed_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return "mean ± sd" of both scores in percent per method and noise type; Bayes' rule is last."""
    import pandas as pd

    from noisylib.plots import noise_title

    columns = {"accuracy": "accuracy", "balanced_accuracy": "balanced"}
    titles = method_titles([name for name in scores["method"].unique() if name != BAYES])
    table = {"Method": [*titles.values(), "*Bayes' rule*"]}
    for noise_type, part in scores.groupby("noise_type", sort=False):
        for score, heading in columns.items():
            grouped = 100 * part.groupby("method")[score].agg(["mean", "std"]).loc[[*titles, BAYES]]
            cells = [mean_sd(mean, sd) for mean, sd in grouped.to_numpy()[:-1]]
            table[f"{noise_title(noise_type)}: {heading}"] = [*cells, f"{grouped['mean'].iloc[-1]:.1f}"]
    return pd.DataFrame(table)


def bed_facts(scene: Scene, scores: pd.DataFrame) -> dict[str, str | float]:
    """Return what the text says of the scene and the scores: names are titles, scores accuracy in percent.

    first_ and last_ are the first and the last noise type; their rival is the share of the labels of a class
    that its most frequent wrong label has. A method's title is that of its picture, of the first seed.
    """
    titles = method_titles([name for name in scores["method"].unique() if name != BAYES])
    types = list(scene.noisy)
    seeds = len(scene.seeds)
    facts: dict[str, str | float] = {
        "samples": len(scene.y),
        "rate": 100 * scene.noisy[types[0]][0].realised_rate,
        "n_seeds": f"{seeds} run{'s' if seeds > 1 else ''}",
        "provenance": f"{len(titles) * len(types) * seeds} runs, {seeds} per method and kind of noise.",
    }
    for place, noise_type in (("first", types[0]), ("last", types[-1])):
        part = scores[scores["noise_type"] == noise_type]
        means = 100 * part.groupby("method")["accuracy"].mean()
        facts["bayes"] = float(means[BAYES])
        facts[f"{place}_noise"] = noise_type
        wrong = scene.noisy[noise_type][0].T * (1 - np.eye(scene.n_classes))
        facts[f"{place}_rival"] = 100 * float(wrong.max())
        means = means[list(titles)]
        for which, name in (("best", means.idxmax()), ("worst", means.idxmin())):
            facts[f"{place}_{which}"] = titles[name]
            facts[f"{place}_{which}_score"] = float(means[name])
    drawn = scores[(scores["noise_type"] == types[0]) & (scores["seed"] == scene.seeds[0])]
    for name, accuracy in zip(drawn["method"], 100 * drawn["accuracy"], strict=True):
        facts[f"{name}_title"] = f"Accuracy {accuracy:.1f} % (Bayes {facts['bayes']:.1f} %)"
    return facts
