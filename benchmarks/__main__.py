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
from noisylib.devices import pick_device
from noisylib.files import write_aside

RESULTS = Path(__file__).parent / "results"


def extraction_rates(device: torch.device, quick: bool) -> dict[str, object]:
    """Return the extraction benchmark's rates on made images and random DeiT-Ti weights."""
    from benchmarks.extraction import made_images, measure
    from noisylib.features.backbones import load_backbone
    from noisylib.features.extract import SHARD_IMAGES

    backbone = load_backbone("deit_tiny", None, pretrained=False, device=device)
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            return measure(made_images(Path(folder), 8), backbone, batch_size=4, rounds=1)
        return measure(made_images(Path(folder), SHARD_IMAGES), backbone)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing"
    )
    parser.add_argument("--extraction", action="store_true", help="also measure feature extraction")
    parser.add_argument("--out", type=Path, help="where to write; --quick writes nothing without it")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)  # as in a study, where each process has one; extraction sets its own
    device = pick_device(args.device)
    machine, started = machine_facts(device), time.perf_counter()
    results = heads.measure(QUICK if args.quick else Setting(), device)
    if args.extraction:
        results |= extraction_rates(device, args.quick)
    results |= {
        "machine": machine,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    name = machine.get("gpu", machine["cpu"])
    print(f"{name}, {machine['cores']} cores, 1 torch thread a process, torch {machine['torch']}")
    print(heads.table(results))
    if args.extraction:
        keys = ("images_per_s", "fraction_of_forward", "forward_images_per_s", "setting")
        rate, fraction, bare, setting = (results[f"extraction.{key}"] for key in keys)
        print(
            f"extraction: {rate:.1f} images/s, {100 * fraction:.0f} % of the bare forward pass "
            f"({bare:.1f} images/s), {setting['torch_threads']} torch threads"
        )
    out = args.out or (None if args.quick else RESULTS / f"{device.type}.json")
    if out is not None:
        with write_aside(out) as aside:
            aside.write_text(json.dumps(results, indent=1) + "\n")
        print(f"written to {out.name} in {results['seconds']} s")


if __name__ == "__main__":
    main()
