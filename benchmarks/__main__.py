"""Measure, print one table, write benchmarks/results/cpu.json (or cuda.json)."""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import heads
from benchmarks.machine import machine_facts
from benchmarks.workload import QUICK, Setting
from noisylib.files import write_aside
from noisylib.training import pick_device

RESULTS = Path(__file__).parent / "results"


def extraction_rates() -> dict[str, float]:
    """Return the extraction benchmark's rates on made images and random DeiT-Ti weights."""
    from benchmarks.extraction import made_images, measure
    from noisylib.features.backbones import load_backbone

    backbone = load_backbone("deit_tiny", None, pretrained=False, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        images = made_images(Path(folder), 4 * 32)
        return measure(images, backbone, batch_size=32, batches=4, rounds=5)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing"
    )
    parser.add_argument("--extraction", action="store_true", help="also measure feature extraction")
    parser.add_argument("--out", type=Path, help="where to write; --quick writes nothing without it")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)  # as in a study, where each process has one
    device = pick_device(args.device)
    machine, started = machine_facts(device), time.perf_counter()
    results = heads.measure(QUICK if args.quick else Setting(), device)
    if args.extraction:
        results |= extraction_rates()
    results |= {
        "machine": machine,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    name = machine.get("gpu", machine["cpu"])
    print(f"{name}, {machine['cores']} cores, 1 torch thread a process, torch {machine['torch']}")
    print(heads.table(results))
    for key in (key for key in results if key.startswith("extraction.")):
        print(f"{key} {results[key]:.3f}")
    out = args.out or (None if args.quick else RESULTS / f"{device.type}.json")
    if out is not None:
        with write_aside(out) as aside:
            aside.write_text(json.dumps(results, indent=1) + "\n")
        print(f"written to {out.name} in {results['seconds']} s")


if __name__ == "__main__":
    main()
