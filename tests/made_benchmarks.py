"""A made record of the benchmarks, every part of it, with numbers to compute with by hand."""

from __future__ import annotations

import copy
from collections.abc import Collection

from noisylib.book.benchmark_record import Record

MACHINE = {"cpu": "Made EPYC", "cores": 2, "torch": "2.15.0+cpu", "torch_threads": 1}
SETTING = {
    "n_features": 192,
    "n_classes": 7,
    "n_samples": 8000,
    "runs": 50,
    "batch_size": 128,
    "head": "adapter",
}


def spread(title: str, median: float) -> dict[str, object]:
    """Return the summary of a case: a fifth lower and a quarter higher than the median."""
    ends = {"min": 0.8 * median, "median": median, "max": 1.25 * median}
    return {"title": title, **ends, "all": list(ends.values())}


def _operation(
    head: str, name: str, title: str, flops: float, n_bytes: float, seconds: float, bound: str
) -> dict[str, object]:
    # 100 GFLOP/s and, for these sizes, 20 GB/s.
    reachable = max(flops / 100e9, n_bytes / 20e9)
    return {
        "head": head, "name": name, "title": title, "flops": flops, "bytes": n_bytes, "seconds": seconds,
        "bound": bound, "reachable_seconds": reachable, "calls": 10.0,
    }  # fmt: skip


OPERATIONS = [
    _operation("adapter", "products", "matrix products", 500e6, 20e6, 6.25e-3, "arithmetic"),  # 5 of 6.25 ms
    _operation("adapter", "activation", "activation and its gradient", 10e6, 20e6, 1e-3, "memory"),  # 1 of 1
    _operation("adapter", "optimiser", "optimiser", 12e6, 20e6, 1.6e-3, "memory"),  # 1 of 1.6
    _operation("adapter", "gather", "gather of rows", 0, 4e6, 0.4e-3, "memory"),  # .2 of .4
    _operation("adapter", "rest", "the rest", 1e3, 1e4, 0.75e-3, "dispatch"),
    _operation("linear", "products", "matrix products", 60e6, 2e6, 0.625e-3, "arithmetic"),  # .6 of .625
    _operation("linear", "optimiser", "optimiser", 4e6, 3e6, 0.15e-3, "memory"),  # .15 of .15
    _operation("linear", "gather", "gather of rows", 1e5, 1e6, 0.05e-3, "memory"),  # .05 of .05
    _operation("linear", "rest", "the rest", 1e3, 1e4, 0.175e-3, "dispatch"),
]

_VALUES = {
    "heads.speedup_tight": 5.0,
    "heads.speedup_dataloader": 8.0,
    "heads.speedup_dataloader_workers": 12.0,
    "heads.speedup_vmap": 2.5,
    "heads.speedup_moduledict": 3.5,
    "heads.gemm_fraction": 0.55,
    "heads.gemm_fraction_plain": 0.5,
    "heads.two_process_speedup": 1.9,
    "heads.gemm_gflops": 100.0,
    "heads.gemm_size": 768,
    "heads.seconds_per_head_epoch": {
        "bank": spread("noisylib, banks of 30 + 20", 0.010),
        "bank_5": spread("  one bank of 5 (1 x 5)", 0.015),
        "bank_30": spread("  one bank of 30 (3 x 10)", 0.009),
        "tight": spread("tight loop, one run at a time", 0.050),
        "dataloader": spread("DataLoader loop, one run at a time", 0.080),
        "dataloader_workers": spread("  with 2 loader processes", 0.120),
        "vmap": spread("torch.func vmap, all runs", 0.025),
        "moduledict": spread("ModuleDict, all runs", 0.035),
    },
    "heads.setting": SETTING,
    "methods.dearest_ranked_per_network_epoch": 3.0,
    "mixtures.speedup": 25.0,
    "extraction.fraction_of_forward": 0.9,
    "extraction.setting": {"backbone": "deit_tiny"},
    "linear.speedup_tight": 6.0,
    "linear.speedup_sklearn": 30.0,
    "linear.gemm_fraction": 0.65,
    "linear.gemm_gflops": 100.0,
    "linear.seconds_per_head_epoch": {
        "bank": spread("noisylib, one bank", 0.004),
        "tight": spread("tight loop, one run at a time", 0.024),
    },
    "linear.seconds_per_run": {"bank": spread("noisylib", 0.2), "sklearn": spread("scikit-learn", 6.0)},
    "linear.quality": {
        "bank": {"training_loss": 0.61, "held_out_loss": 0.5, "held_out_accuracy": 0.9},
        "sklearn": {"training_loss": 0.6, "held_out_loss": 0.55, "held_out_accuracy": 0.89},
    },
    "linear.iterations": [40, 44],
    "linear.setting": {**SETTING, "head": "linear", "n_features": 768, "epochs": 50},
    "scaling.curves": {
        "R": {"values": [1, 10, 100], "seconds": [0.02, 0.1, 1.0], "slope": 0.85, "slope_upper_half": 1.0},
        "N": {"values": [1000, 2000, 4000], "seconds": [0.1, 0.2, 0.4]},  # slopes are not on file
        "D": {"values": [64, 128, 256], "seconds": [0.1, 0.15, 0.4], "slope": 1.0, "slope_upper_half": 1.42},
        "K": {"values": [2, 8, 32], "seconds": [0.1, 0.11, 0.14], "slope": 0.12, "slope_upper_half": 0.17},
    },
    "scaling.memory": {
        "R": [10, 20, 40],
        "peak_bytes": [30 * 2**20, 40 * 2**20, 60 * 2**20],
        "bytes_per_head": 2.0**20,
        "fixed_bytes": 20 * 2.0**20,
    },
    "scaling.setting": {**SETTING, "R": 10, "N": 4000, "D": 192, "K": 7, "n_samples": 4000},
    "archive.seconds_per_run": {
        "ce": {**spread("Cross entropy", 0.9), "mean": 0.5},
        "dividemix": spread("DivideMix", 3.0),
        "elr": spread("ELR", 0.5),
    },
    "archive.estimated_seconds": 7200.0,
    "archive.standard_error_seconds": 600.0,
    "archive.slower_beside_others": 1.08,
    "archive.jobs": 2,
    "archive.estimated_wall_seconds": 3900.0,
    "archive.recorded": {"wall_seconds": 4740.0, "core_seconds": 9464.0, "jobs": 2},
    "archive.setting": {},
    "roofline.gemm": {"512": 95.0, "768": 100.0},
    "roofline.bandwidth": {"262144": 120.0, "1048576": 90.0, "8388608": 40.0, "268435456": 12.0},
    "roofline.operations": OPERATIONS,
    "roofline.dispatch_seconds": 2e-6,
    "roofline.setting": {"heads": {"adapter": 192, "linear": 768}, "runs": 10, "batch_size": 128},
    "engine.speedup_two_processes": 1.8,
    "engine.speedup_two_dask_workers": 1.75,
    "engine.overhead_per_chunk_seconds": 0.02,
    "engine.killed_worker": {"chunks_repeated": 1, "seconds_lost": 2.0},
    "engine.seconds": {"one": 10.0},
    "engine.setting": {},
    "precision.speedup": {"bfloat16, adapter D=192": 1.6},
    "precision.effect": {"ce": {"mean": -0.0012, "largest": 0.0234, "seeds": 0.05, "runs": 12}},
    "precision.setting": {},
    "mapped.slowdown": {"adapter": 1.2, "linear": 1.9},
    "mapped.seconds": {},
    "mapped.setting": {},
}  # fmt: skip


def made_values(without: Collection[str] = ()) -> dict[str, object]:
    """Return the content of a record whose parts (or single keys) `without` were never measured."""
    values = copy.deepcopy(
        {key: v for key, v in _VALUES.items() if key not in without and key.partition(".")[0] not in without}
    )
    parts = dict.fromkeys(key.partition(".")[0] for key in values)
    facts = {"date": "2026-01-02", "seconds": 1.0, "quick": False, "machine": MACHINE}
    return {**values, "measured": {part: dict(facts) for part in parts}}


def made_record(without: Collection[str] = (), device: str = "cpu", **changed: object) -> Record:
    """Return a record in which `without` is absent; `heads__gemm_fraction=.7` changes a value."""
    values = made_values(without)
    values |= {name.replace("__", ".", 1): value for name, value in changed.items()}
    return Record(device, values)
