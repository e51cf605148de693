"""The features and noisy labels that the methods' costs are measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisylib.data import dataset_info
from noisylib.features.bank import load_bank
from noisylib.methods import Method
from noisylib.noise import NoisyLabels, inject
from noisylib.seeding import numpy_generator
from noisylib.validation import BankInputs, check_bank_inputs

DATASET, BACKBONE = "ham10000", "deit_tiny"
SHIPPED = (8012, 192)  # training samples and width of that bank
NOISE = (("symmetric", 0.3), ("asymmetric", 0.4))  # of the runs of a seed, in turn
FEWEST = 30  # samples of a class in made data: enough for five folds at 40 % noise

Labelled = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class StudyBank:
    """Both splits, and what asymmetric noise does to their labels.

    Attributes
    ----------
    source : where the features come from.
    train, test : (N, D) features and (N,) true labels.
    class_map : true class -> noisy class.
    """

    source: str
    train: Labelled
    test: Labelled
    n_classes: int
    class_map: dict[int, int]

    def labels(self, run: int) -> NoisyLabels:
        """Return the noisy training labels of a run; its number sets their kind and their draw."""
        kind, rate = NOISE[run % len(NOISE)]
        return inject(
            self.train[1], kind, rate, n_classes=self.n_classes, seed=run // len(NOISE), dataset=DATASET,
            class_map=self.class_map,
        )  # fmt: skip

    def inputs(self, rule: Method, seeds: int, runs_per_seed: int) -> BankInputs:
        """Return what `rule` trains on: `runs_per_seed` runs of each of the first seeds."""
        noise = [self.labels(run) for run in range(seeds * runs_per_seed)]
        return check_bank_inputs(
            self.train[0],
            np.stack([n.y_noisy for n in noise]),
            *self.test,
            self.n_classes,
            rule,
            seeds=[run // runs_per_seed for run in range(len(noise))],
            noise_rates=[n.realised_rate for n in noise],
            noise_types=[n.noise_type for n in noise],
            transitions=np.stack([n.realised_T for n in noise]),
        )


def shipped_bank() -> StudyBank:
    """Return DeiT-Ti features of HAM10000 as they ship; raises MissingDataError where they do not."""
    bank, info = load_bank(DATASET, BACKBONE), dataset_info(DATASET)
    class_map = info.map_indices(classes=bank.class_names)
    source = f"{DATASET}-{BACKBONE}, as shipped"
    return StudyBank(source, bank.part("train"), bank.part("test"), bank.n_classes, class_map)


def made_bank(n_samples: int, n_features: int) -> StudyBank:
    """Return Gaussian classes as frequent as those of HAM10000; a quarter more samples are the test split."""
    random, info = numpy_generator("benchmark", "methods"), dataset_info(DATASET)
    share = np.array(info.class_counts) / sum(info.class_counts)
    centres = random.normal(0, 2 / n_features**0.5, (len(share), n_features))

    def draw(n: int) -> Labelled:
        counts = np.rint(n * share).astype(int).clip(FEWEST)
        y = random.permutation(np.repeat(np.arange(len(counts)), counts))
        return (centres[y] + random.standard_normal((len(y), n_features))).astype(np.float32), y

    return StudyBank("made", draw(n_samples), draw(n_samples // 4), len(share), info.map_indices())
