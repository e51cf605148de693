"""What a recommendation checks of the data it is asked about, and which rows it looks at."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from noisylib.errors import NoisylibError
from noisylib.labels import encode_labels
from noisylib.seeding import numpy_generator
from noisylib.validation import check_features

FEWEST_SAMPLES = 50  # below, neither the noise nor the regret of a method can be told
FEWEST_PER_CLASS = 5  # one for each fold of the cross-validation
# Rows of each class that a draw keeps before the others are dealt out in proportion.
RARE = 100
LISTED = 5  # classes named in a warning


@dataclass(frozen=True, eq=False)
class DoubtfulData:
    """Features and labels that were checked.

    Attributes
    ----------
    X : (N, D) finite numbers.
    y : (N,) int64 codes of the observed labels.
    classes : (K,) what each code stands for.
    counts : (K,) samples per class.
    warnings : what a user should know of the data.
    """

    X: np.ndarray
    y: np.ndarray
    classes: np.ndarray
    counts: np.ndarray
    warnings: tuple[str, ...]


def check_data(X: ArrayLike, y: ArrayLike) -> DoubtfulData:
    """Return features and labels as they are used, with warnings of what is odd about them.

    Rows that are equal are kept and counted, and a class with fewer than 5 samples is named.

    Raises
    ------
    NoisylibError
        For features that are no finite numbers of shape (N, D) or are all constant, labels that
        `noisylib.labels.encode_labels` refuses or of another length, and fewer than 50 samples.
    """
    X = check_features(_as_array(X), "X")
    codes, classes = encode_labels(y)
    if len(codes) != len(X):
        raise NoisylibError(f"y has {len(codes)} labels, but X has {len(X)} rows: give one label each.")
    if len(X) < FEWEST_SAMPLES:
        raise NoisylibError(
            f"X has {len(X)} rows: at least {FEWEST_SAMPLES} are needed. With so few, look at each label "
            "by eye, and train with cross-entropy (method 'ce')."
        )
    if (X.max(axis=0) == X.min(axis=0)).all():
        raise NoisylibError(
            f"all {X.shape[1]} features of X are constant: every sample looks the same. Check the extraction."
        )
    counts = np.bincount(codes)
    warnings = [_few_samples(classes, counts), _spellings(classes), _duplicates(X, codes)]
    return DoubtfulData(X, codes, classes, counts, tuple(text for text in warnings if text))


def draw_rows(y: np.ndarray, max_rows: int, seed: int = 0) -> np.ndarray:
    """Return at most `max_rows` positions, ascending, drawn so that rare classes keep their samples.

    Each class keeps up to 100 samples (fewer if half of the rows would not suffice for that), and the other
    rows are dealt out in proportion to the samples that are left.

    Raises
    ------
    NoisylibError
        There are fewer than two rows for each class, and more samples than rows.
    """
    counts = np.bincount(y)
    if len(y) <= max_rows:
        return np.arange(len(y))
    if max_rows < 2 * len(counts):
        raise NoisylibError(
            f"max_rows={max_rows}: {len(counts)} classes need at least {2 * len(counts)} rows, two for each."
        )
    kept = np.minimum(counts, min(RARE, max_rows // (2 * len(counts))))
    left = counts - kept
    quota = kept + left * (max_rows - kept.sum()) // left.sum()
    order = numpy_generator("recommendation-rows", seed).permutation(len(y))
    drawn = [order[y[order] == c][:wanted] for c, wanted in enumerate(quota)]
    return np.sort(np.concatenate(drawn))


def equal_rows(X: np.ndarray) -> np.ndarray:
    """Return a number for each row, (N,) int64, which only rows of equal float32 features share."""
    keys = np.empty(len(X), dtype="S16")
    for start in range(0, len(X), 4096):
        # Adding 0 makes -0 and 0 one.
        rows = np.ascontiguousarray(X[start : start + 4096], dtype=np.float32) + np.float32(0)
        keys[start : start + len(rows)] = [hashlib.blake2b(r, digest_size=8).hexdigest() for r in rows]
    return np.unique(keys, return_inverse=True)[1]


def _as_array(X: ArrayLike) -> np.ndarray:
    """Return features as an array; columns of objects that are numbers, or missing, as float64."""
    if hasattr(X, "toarray"):
        raise NoisylibError("X is sparse, but dense numbers of shape (N, D) are needed: pass X.toarray().")
    array = np.asarray(X)
    if array.dtype.kind != "O":
        return array
    if hasattr(X, "columns"):
        others = [str(name) for name, dtype in X.dtypes.items() if dtype.kind not in "iufb"]
        if others:
            raise NoisylibError(
                f"X has columns that do not hold numbers: {', '.join(map(repr, others[:LISTED]))}"
                f"{', ...' * (len(others) > LISTED)}. Pass the columns of the features only."
            )
        return X.to_numpy(dtype=np.float64, na_value=np.nan)
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        return array  # refused as it is


def _few_samples(classes: np.ndarray, counts: np.ndarray) -> str:
    few = np.flatnonzero(counts < FEWEST_PER_CLASS)
    if not few.size:
        return ""
    named = ", ".join(f"{classes[c]} ({counts[c]})" for c in few[:LISTED])
    more = f" and {few.size - LISTED} more" if few.size > LISTED else ""
    return (
        f"{few.size} of {len(classes)} classes have fewer than {FEWEST_PER_CLASS} samples: {named}{more}. "
        "What is said of them is a guess: merge each with a related class, drop it, or collect more."
    )


def _spellings(classes: np.ndarray) -> str:
    """Return a warning if names of classes differ in nothing but case and blanks."""
    spelt: dict[str, list[str]] = {}
    for name in classes.tolist() if classes.dtype.kind == "U" else ():
        spelt.setdefault(" ".join(name.casefold().split()), []).append(name)
    alike = [names for names in spelt.values() if len(names) > 1]
    if not alike:
        return ""
    named = "; ".join(", ".join(map(repr, names)) for names in alike[:LISTED])
    return f"Classes that differ in nothing but case or blanks count as several: {named}. Spell each one way."


def _duplicates(X: np.ndarray, y: np.ndarray) -> str:
    groups = equal_rows(X)
    sizes = np.bincount(groups)
    repeated = len(y) - len(sizes)
    if not repeated:
        return ""
    order = np.lexsort((y, groups))
    same_group = groups[order][1:] == groups[order][:-1]
    mixed = np.unique(groups[order][1:][same_group & (y[order][1:] != y[order][:-1])])
    clash = int(sizes[mixed].sum())
    text = f"{repeated:,} {'row repeats' if repeated == 1 else 'rows repeat'} the features of another row"
    if clash:
        text += f", and {clash:,} rows share theirs with a row of another label, so some label is wrong"
    return f"{text}. Copies vouch for each other's labels, right or wrong: keep one of each."
