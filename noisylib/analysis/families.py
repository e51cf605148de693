"""Which data sets show the same kind of image, so that none of them is unseen when another was trained on.

A rule that has learned from one skin collection knows something of the next one. What it is worth on data
of a new kind is therefore measured with all data sets of a family left out together.
"""

from __future__ import annotations

# Families of the catalogued data sets that have relatives, and of made data (Gaussian classes).
FAMILIES: dict[str, tuple[str, ...]] = {
    "skin": ("ham10000", "isic2019", "dermamnist"),
    "blood": ("pbc", "bloodmnist"),
    "chest": ("pneumoniamnist",),
    "breast": ("breastmnist",),
    "retina": ("retinamnist",),
    "made": ("bed",),
}

_FAMILY_OF = {dataset: name for name, members in FAMILIES.items() for dataset in members}


def family(dataset: str) -> str:
    """Return the family of a data set by name; one without relatives is a family of its own name."""
    return _FAMILY_OF.get(dataset, dataset)
