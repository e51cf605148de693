"""The names that parameters of chapters may take, looked up when a value is checked."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def datasets() -> set[str]:
    """Return the data sets of the catalogue and those of the banks that are there."""
    from noisylib.data.catalog import DATASETS
    from noisylib.features.bank import list_banks

    return {*DATASETS, *(dataset for dataset, _, _ in list_banks())}


def backbones() -> set[str]:
    """Return the registered backbones and those of the banks that are there."""
    from noisylib.features.backbone_registry import BACKBONES
    from noisylib.features.bank import list_banks

    return {"raw", *BACKBONES, *(backbone for _, backbone, _ in list_banks())}


def methods() -> set[str]:
    """Return all methods."""
    from noisylib.methods import METHODS

    return set(METHODS)


def heads() -> set[str]:
    """Return all kinds of head."""
    from noisylib.heads import HEAD_KINDS

    return set(HEAD_KINDS)


def traced() -> set[str]:
    """Return the methods whose epoch is one pass over the training samples."""
    from noisylib.methods import METHODS

    return {name for name, cls in METHODS.items() if cls().n_nets and not cls.own_batches}


def matrix_noise() -> set[str]:
    """Return the types of noise that a matrix describes beforehand."""
    return {"symmetric", "pairflip", "asymmetric"}


def bed_heads() -> set[str]:
    """Return the heads that two features suffice for."""
    # The adapter normalises the features of a sample, and of two numbers that leaves only their order.
    return {"linear", "mlp"}


def studies() -> set[str]:
    """Return the studies that have a configuration."""
    return {path.stem for path in (ROOT / "configs").glob("*.yaml")}


def projections() -> set[str]:
    """Return the maps of features onto a plane."""
    return {"pca", "tsne"}


def metrics() -> set[str]:
    """Return what a method can be best at."""
    return {"balanced_accuracy", "accuracy"}


def candidates() -> set[str]:
    """Return the methods that the selector chooses from."""
    from noisylib.candidates import CANDIDATES

    return set(CANDIDATES)


def choices() -> set[str]:
    """Return the methods that train a head, and "auto"."""
    from noisylib.methods import METHODS

    return {"auto", *(name for name, cls in METHODS.items() if cls().n_nets)}
