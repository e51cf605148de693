"""Measure, print a table per part and one of everything, and file the numbers in benchmarks/results.

The training core is measured unless --no-heads says otherwise, other parts when their flag is given; --all
measures every part. Parts that are not measured keep the numbers they have in the file (cpu.json or
cuda.json), with the date and machine they were measured on.
"""

from __future__ import annotations

import argparse
import datetime
import time
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks import record, summary
from benchmarks.machine import machine_facts
from noisylib.devices import pick_device

RESULTS = Path(__file__).parent / "results"
MORE = {
    "extraction": "also measure feature extraction",
    "methods": "also measure what every method costs beside cross entropy",
    "tuning": "also measure a linear probe, full fine-tuning and TURN (minutes)",
    "mixtures": "also measure mixtures of many runs against a loop over scikit-learn",
    "linear": "also measure linear heads against a loop and scikit-learn",
    "roofline": "also measure the machine's ceilings and the operations of a training step",
    "scaling": "also measure how time and memory grow with runs, samples, width and classes",
    "archive": "also estimate what the archive of 6,000 runs takes; on a GPU, run it",
    "engine": "also measure studies shared by processes and by Dask workers",
    "precision": "also measure arithmetic of lower precision",
    "mapped": "also measure training on features that stay on disk",
}


def parse(arguments: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Return the arguments and the parts to measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing"
    )
    parser.add_argument("--all", action="store_true", help="measure every part")
    parser.add_argument("--no-heads", action="store_true", help="leave out the training core")
    for part, what in MORE.items():
        parser.add_argument(f"--{part}", action="store_true", help=what)
    parser.add_argument(
        "--archive-whole", action="store_true", help="also run all of the archive on a CPU (an hour or two)"
    )
    parser.add_argument("--out", type=Path, help="where to file; --quick files nothing without it")
    args = parser.parse_args(arguments)
    if args.all and args.no_heads:
        parser.error("--all measures every part: leave out --no-heads, or give the parts one by one.")
    args.archive |= args.archive_whole
    chosen = [part for part in MORE if args.all or getattr(args, part)]
    parts = [*(() if args.no_heads else ("heads",)), *chosen]
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
    absent = [part for part in parts if find_spec(f"benchmarks.{part}") is None]
    if absent:
        print(f"there is no module for {', '.join(absent)}: left out")
    parts = [part for part in parts if part not in absent]
    for part in parts:
        started = time.perf_counter()
        module = import_module(f"benchmarks.{part}")  # only now: a part may need packages others do not
        run = partial(module.run, whole=True) if part == "archive" and args.archive_whole else module.run
        numbers = run(args.quick, device)
        facts = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "seconds": round(time.perf_counter() - started, 1),
            "quick": args.quick,
            "machine": machine,
        }
        results = record.merge(results, part, numbers, facts)
        print(f"\n{module.table(numbers)}", flush=True)
        if out is not None:
            record.write(results, out)
    print(f"\n{summary.table(results, device.type, parts)}")
    if out is not None:
        print("", *record.kept_parts(results, parts), f"filed in {out.name}", sep="\n")


if __name__ == "__main__":
    main()
