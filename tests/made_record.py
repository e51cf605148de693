"""A made record of benchmarks whose numbers can be followed by hand."""

from __future__ import annotations

from typing import Any

FACTS = {
    "date": "2026-01-31",
    "seconds": 1.0,
    "quick": False,
    "machine": {"cpu": "Made", "cores": 2, "torch": "2.0.0", "torch_threads": 1},
}
START = 1e-5  # seconds to begin an operation


def operation(head: str, name: str, seconds: float, calls: int, bound: str = "arithmetic") -> dict[str, Any]:
    """One class of operations; `seconds` are those of its work alone."""
    return {
        "head": head,
        "name": name,
        "title": f"title of {name}",
        "flops": 1.0,
        "bytes": 1.0,
        "calls": calls,
        "seconds": seconds + calls * START,
        "bound": bound,
        "reachable_seconds": seconds / 2,
    }


def made_record() -> dict[str, Any]:
    """Return a record of every part that the plan for large studies reads.

    Adapter: D = 8, K = 2, h = 64, B = 4, ten heads. The products of a head's step are
    2 * 4 * (2 * 8 * 66 + 3 * 64 * 2) = 11,520 and 6 * 8 * 64 * 2 = 6,144 operations, 17,664 at 1 ns each.
    GELU goes through 2 * 64 * 4 = 512 values at 2 ns, Adam through 2 * 64 * 8 + 16 + 2 = 1,042 parameters at
    3 ns, the loss through 8 logits at 5 ns, and the ten heads share a batch of 4 * 16 = 64 numbers at 7 ns.
    Linear, same sizes: 2 * 4 * 2 * 16 = 256 operations, 18 parameters, 8 logits, 4 * 8 = 32 numbers.
    Beginning 20 operations of 10 microseconds and the rest make 400 microseconds a step; of linear heads, 10
    operations and 200 microseconds.
    """
    sizes = {"n_features": 8, "n_classes": 2, "batch_size": 4, "seeds": 1, "runs_per_seed": 10}
    curve = {"slope": 1.0, "slope_upper_half": 1.0}
    return {
        "roofline.operations": [
            operation("adapter", "products", 10 * 17664e-9, 10),
            operation("adapter", "activation", 10 * 512 * 2e-9, 2),
            operation("adapter", "optimiser", 10 * 1042 * 3e-9, 1, "memory"),
            operation("adapter", "loss", 10 * 8 * 5e-9, 4),
            operation("adapter", "gather", 64 * 7e-9, 1, "memory"),
            operation("adapter", "rest", 2e-4, 2, "dispatch"),
            operation("linear", "products", 10 * 256e-9, 2),
            operation("linear", "optimiser", 10 * 18 * 3e-9, 1, "memory"),
            operation("linear", "loss", 10 * 8 * 5e-9, 4),
            operation("linear", "gather", 32 * 7e-9, 1, "memory"),
            operation("linear", "rest", 1e-4, 2, "dispatch"),
        ],
        "roofline.gemm": {"512": 80.0, "768": 90.0},
        "roofline.bandwidth": {"1000000": 90.0, "100000000": 10.0},
        "roofline.dispatch_seconds": START,
        "roofline.setting": {
            "heads": {"adapter": 8, "linear": 8},
            "runs": 10,
            "n_classes": 2,
            "batch_size": 4,
        },
        "scaling.curves": {
            "R": {"values": [10, 20], "seconds": [0.01, 0.02], **curve},
            "N": {"values": [40, 80], "seconds": [0.01, 0.02], **curve},
            "D": {"values": [8, 16], "seconds": [0.01, 0.02], **curve},
            "K": {"values": [2, 4], "seconds": [0.01, 0.02], **curve},
        },
        "scaling.memory": {
            "R": [10, 20],
            "peak_bytes": [3e6, 4e6],
            "bytes_per_head": 1e5,
            "fixed_bytes": 2e6,
        },
        "scaling.setting": {**sizes, "head": "adapter", "n_samples": 40},
        "methods.costs": {"ce": {"per_run": 1.0}, "gce": {"per_run": 1.5}, "dividemix": {"per_run": 5.5}},
        "methods.setting": {},
        "heads.two_process_speedup": 1.8,
        "heads.gemm_gflops": 90.0,
        "heads.setting": {},
        "engine.overhead_per_chunk_seconds": 0.25,
        "engine.speedup_two_processes": 1.9,
        "engine.setting": {},
        "measured": dict.fromkeys(("roofline", "scaling", "methods", "heads", "engine"), FACTS),
    }
