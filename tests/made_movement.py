"""Made rows of the tables "turn_small_movement" and "turn_small_map", to compute with by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from noisylib.study.finetune_tables import MAP, MOVEMENT

BLOCKS = 3
TUNED = ("FFT-CE", "FFT-GCE", "FFT-ELR", "TURN")
Cka = Callable[[pd.Series], float]


def movement_rows(
    rows: pd.DataFrame, cka: Cka = lambda row: 0.6, probe_after: Cka = lambda row: 0.8
) -> pd.DataFrame:
    """Return rows that fit tuned rows of "turn_small": three blocks and the feature.

    The feature's CKA is `cka`, each block before it is a tenth more alike; block b changed by (b + 1) %. The
    clean probe is .7 before and `probe_after` after.
    """
    records = []
    for _, row in rows[rows["label"].isin(TUNED)].iterrows():
        run = {name: row[name] for name in MOVEMENT if name in rows}
        for block in range(BLOCKS + 1):
            last = block == BLOCKS
            records.append(
                run
                | {"class_map": "", "block": block, "cka": cka(row) + 0.1 * (BLOCKS - block)}
                | {"relative_change": np.nan if last else 0.01 * (block + 1), "last": last}
                | {
                    "probe_before": 0.7 if last else np.nan,
                    "probe_after": probe_after(row) if last else np.nan,
                }
                | {"probe_noisy_after": 0.6 if last else np.nan}
            )
    return pd.DataFrame(records)[list(MOVEMENT)]


def map_rows(rows: pd.DataFrame, dataset: str = "pbc", points: int = 12) -> pd.DataFrame:
    """Return maps of FFT-CE and TURN with little and much symmetric noise, seed 0; two classes.

    Before, each point's nearest neighbour is of the other class; after, the classes are far apart.
    """
    chosen = rows[(rows["dataset"] == dataset) & (rows["seed"] == 0) & rows["label"].isin(("FFT-CE", "TURN"))]
    chosen = chosen[(chosen["noise_type"] == "symmetric") & chosen["noise_rate"].isin((0.2, 0.6))]
    records = []
    for _, row in chosen.sort_values("noise_rate", kind="stable").iterrows():
        run = {name: row[name] for name in MAP if name in rows} | {"class_map": ""}
        for stage in ("before", "after FFT"):
            for i in range(points):
                x = 10.0 * (i // 2) + i % 2 if stage == "before" else 100.0 * (i % 2) + i
                records.append(run | {"stage": stage, "point": i, "true_class": i % 2, "x": x, "y": 0.0})
    return pd.DataFrame(records)[list(MAP)]
