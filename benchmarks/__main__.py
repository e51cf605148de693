"""Measure, print a table per part, and file the numbers in benchmarks/results/cpu.json (or cuda.json).

The training core is measured unless --no-heads says otherwise, other parts when their flag is given. Parts
that are not measured keep the numbers they have in the file, with the date and machine they were measured on.
"""

from __future__ import annotations

import argparse
import datetime
import time
from importlib import import_module
from pathlib import Path

import torch

from benchmarks import record
from benchmarks.machine import machine_facts
from noisylib.devices import pick_device

RESULTS = Path(__file__).parent / "results"
MORE = {
    "extraction": "also measure feature extraction",
    "methods": "also measure what every method costs beside cross entropy",
    "tuning": "also measure a linear probe, full fine-tuning and TURN (minutes)",
    "mixtures": "also measure mixtures of many runs against a loop over scikit-learn",
}


def parse(arguments: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Return the arguments and the parts to measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing"
    )
    parser.add_argument("--no-heads", action="store_true", help="leave out the training core")
    for part, what in MORE.items():
        parser.add_argument(f"--{part}", action="store_true", help=what)
    parser.add_argument("--out", type=Path, help="where to file; --quick files nothing without it")
    args = parser.parse_args(arguments)
    parts = [*(() if args.no_heads else ("heads",)), *(part for part in MORE if getattr(args, part))]
    if not parts:
        parser.error("nothing to measure: give a part, such as --methods, or leave out --no-heads.")
    return args, parts


def main(arguments: list[str] | None = None) -> None:
    """Measure the parts asked for, one after the other; each is on file before the next begins."""
    args, parts = parse(arguments)
    torch.set_num_threads(1)  # as in a study, where each process has one; extraction sets its own
    device = pick_device(args.device)
    out = args.out or (None if args.quick else RESULTS / f"{device.type}.json")
    try:
        results = record.read(out) if out is not None else {}
    except ValueError as error:  # better now than after minutes of measuring
        raise SystemExit(str(error)) from None
    machine = machine_facts(device)
    name = machine.get("gpu", machine["cpu"])
    print(f"{name}, {machine['cores']} cores, 1 torch thread a process, torch {machine['torch']}")
    for part in parts:
        started = time.perf_counter()
        module = import_module(f"benchmarks.{part}")  # only now: a part may need packages others do not
        numbers = module.run(args.quick, device)
        facts = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "seconds": round(time.perf_counter() - started, 1),
            "quick": args.quick,
            "machine": machine,
        }
        results = record.merge(results, part, numbers, facts)
        print(f"\n{module.table(numbers)}")
        if out is not None:
            record.write(results, out)
    if out is not None:
        print("", *record.kept_parts(results, parts), f"filed in {out.name}", sep="\n")


if __name__ == "__main__":
    main()
