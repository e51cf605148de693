"""How fast the training core is: every ratio beside its aim, and the milliseconds behind the ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisylib.book.benchmark_record import DEVICES, NAMES, Record, walk
from noisylib.book.describe.performance_numbers import (
    first_lower,
    first_upper,
    listed,
    number,
    percent,
    times,
)
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Measure:
    """One line of the table of aims.

    Attributes
    ----------
    key : where the record has it; "<part>.<name>/<entry>" looks into a mapping.
    group, title : what was done, and against what. Settings of the part stand in for the braces.
    form : how it is written, as `performance_numbers.number` takes it.
    aims : device -> what is aimed at; a device without one has no aim.
    at_most : the aim is an upper end.
    devices : where it is measured at all.
    """

    key: str
    group: str
    title: str
    form: str
    aims: Mapping[str, float]
    at_most: bool = False
    devices: tuple[str, ...] = DEVICES

    @property
    def part(self) -> str:
        """The part of the benchmarks that measures it."""
        return self.key.partition(".")[0]

    def words(self, record: Record) -> tuple[str, str]:
        """Return group and title with the settings of the part in them."""
        words = title_words(record, self.part, wide=self.key.endswith("_wide"))
        return self.group.format_map(words), self.title.format_map(words)

    def reached(self, record: Record) -> bool | None:
        """Say whether the aim is reached; None without an aim or a measurement."""
        value, aim = record.get(self.key), self.aims.get(record.device)
        if value is None or aim is None:
            return None
        return value <= aim if self.at_most else value >= aim

    def shown(self, record: Record) -> str:
        """Return the measured value, with as many digits as it takes to be on its side of the aim."""
        return number(float(record.get(self.key)), self.form, self.aims.get(record.device))

    def aim(self, record: Record) -> str:
        """Return what is aimed at; nothing without an aim."""
        aim = self.aims.get(record.device)
        if aim is None:
            return ""
        units = {"times": (1, " times"), "share": (100, " %"), "seconds": (1 / 60, " min"), "count": (1, "")}
        factor, unit = units[self.form]
        return f"{'≤' if self.at_most else '≥'}{NBSP}{aim * factor:g}{unit.replace(' ', NBSP)}"


BANK, HERE = "A bank of {runs} {head} heads, D{eq}{n_features}, against", "Share of the matrix-product rate"
COLUMNS = ("What", "Against what, or how", "Measured", "Aimed at", "Reached")
PARTS = {
    "heads": "the training core",
    "linear": "linear heads",
    "engine": "studies shared by processes and workers",
    "extraction": "feature extraction",
    "methods": "what methods cost",
    "mixtures": "mixtures",
    "archive": "the wall time of the archive",
}
MEASURES = (
    Measure("heads.speedup_tight", BANK, "a tight loop, one run at a time", "times", {"cpu": 4, "cuda": 100}),
    Measure("heads.speedup_dataloader", BANK, "a DataLoader loop in one process", "times", {"cpu": 100}),
    Measure("heads.speedup_dataloader_workers", BANK, "a DataLoader loop with loader processes", "times", {}),
    Measure("heads.speedup_vmap", BANK, "`torch.func` vmap over all runs", "times", {}),
    Measure("heads.speedup_moduledict", BANK, "a ModuleDict stepped together", "times", {}),
    Measure("linear.speedup_tight", BANK, "a tight loop, one run at a time", "times", {}),
    Measure("linear.speedup_sklearn", BANK, "scikit-learn, a finished run each", "times", {}),
    Measure("heads.gemm_fraction", HERE, "{head} heads, D{eq}{n_features}{counted}", "share", {"cpu": 0.6}),
    Measure(
        "linear.gemm_fraction", HERE, "{head} heads, D{eq}{n_features}{counted}", "share",
        {"cpu": 0.6, "cuda": 0.3},
    ),
    Measure(
        "heads.gemm_fraction_wide", HERE, "{head} heads, D{eq}{n_features}, batch {batch_size}", "share",
        {"cuda": 0.3}, devices=("cuda",),
    ),
    Measure("heads.two_process_speedup", "Two processes", "training a bank each", "times", {"cpu": 1.85}),
    Measure("engine.speedup_two_processes", "Two processes", "sharing a study", "times", {"cpu": 1.85}),
    Measure("engine.speedup_two_dask_workers", "Two Dask workers", "sharing a study", "times", {"cpu": 1.7}),
    Measure(
        "engine.killed_worker/chunks_repeated", "A worker killed", "chunks done again", "count",
        {"cpu": 1, "cuda": 1}, at_most=True,
    ),
    Measure(
        "extraction.fraction_of_forward", "Features", "share of the bare forward pass", "share", {"cpu": 0.85}
    ),
    Measure(
        "methods.dearest_ranked_per_network_epoch", "The dearest ranked method against",
        "cross entropy, per network and epoch", "times", {"cpu": 6}, at_most=True,
    ),
    Measure(
        "mixtures.speedup", "Mixtures of many runs against", "a loop over scikit-learn", "times", {"cpu": 20}
    ),
    Measure("archive.estimated_wall_seconds", "The archive", "wall time{jobs}, estimated", "seconds", {}),
    Measure(
        "archive.whole/wall_seconds", "The archive", "wall time, run", "seconds", {"cuda": 180},
        at_most=True, devices=("cuda",),
    ),
)  # fmt: skip


def aims_table(record: Record) -> pd.DataFrame:
    """Return every measure that the record has, beside its aim and whether that is reached."""
    import pandas as pd

    rows = []
    for measure in (m for m in MEASURES if record.has(m.key)):
        group, title = measure.words(record)
        rows.append(
            {
                "What": group,
                "Against what, or how": title,
                "Measured": measure.shown(record),
                "Aimed at": measure.aim(record),
                "Reached": {True: "yes", False: "no", None: ""}[measure.reached(record)],
            }
        )
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["What"] = frame["What"].where(frame["What"] != frame["What"].shift(), "")
    return frame


def title_words(record: Record, part: str, *, wide: bool = False) -> dict[str, object]:
    """Return what fills the braces of titles: the settings of the part, and what its products count."""
    setting = record.get(f"{part}.setting_wide", {}) if wide else record.setting(part)
    jobs = record.get("archive.jobs")
    counted = ", products that a step executes" if record.has(f"{part}.gemm_fraction_plain") else ""
    return {
        "eq": f"{NBSP}={NBSP}",
        "runs": setting.get("runs", "R"),
        "head": setting.get("head", "linear" if part == "linear" else "adapter"),
        "n_features": setting.get("n_features", "?"),
        "batch_size": setting.get("batch_size", "?"),
        "counted": counted,
        "jobs": "" if jobs is None else f", {jobs} process{'' if jobs == 1 else 'es'}",
    }


def not_measured(record: Record) -> str:
    """Return which parts lack lines of the table, and the command that fills them; empty if none does."""
    absent = list(
        dict.fromkeys(m.part for m in MEASURES if record.device in m.devices and not record.has(m.key))
    )
    if not absent:
        return ""
    names = listed([PARTS[part] for part in absent])
    return record.absent(f"Some or all lines on {names} are not in the table: they have", *absent)


def in_short(record: Record) -> str:
    """Return the chapter's answer: the ratios that matter, and how many aims are reached."""
    parts = []
    if record.has("heads.speedup_tight"):
        words = title_words(record, "heads")
        others = {
            "the usual DataLoader loop": "heads.speedup_dataloader",
            "`torch.func` vmap": "heads.speedup_vmap",
        }
        more = [
            f"{times(record.get(key))} as fast as {name}" for name, key in others.items() if record.has(key)
        ]
        parts.append(
            f"A bank of {words['runs']} {words['head']} heads trains "
            f"**{times(record.get('heads.speedup_tight'))} as fast** as the same runs in a tight loop"
            f"{f', {listed(more)}' if more else ''}."
        )
    if record.has("heads.gemm_fraction"):
        parts.append(
            f"It does its arithmetic at {percent(record.get('heads.gemm_fraction'))} of the rate that the "
            f"{NAMES[record.device]} reaches in large matrix products."
        )
    if record.has("heads.two_process_speedup"):
        parts.append(
            f"Two processes side by side do {times(record.get('heads.two_process_speedup'))} the work of one."
        )
    return " ".join([*parts, aims_words(record)])


def aims_words(record: Record) -> str:
    """Return how many aims are reached, and which are missed."""
    found = {measure: measure.reached(record) for measure in MEASURES}
    asked = [measure for measure, reached in found.items() if reached is not None]
    if not asked:
        return "Nothing that has an aim has been measured."
    missed = [measure for measure in asked if not found[measure]]
    if not missed:
        return f"Every aim that was measured, {len(asked)} in all, is reached."
    names = []
    for measure in missed:
        group, title = measure.words(record)
        names.append(
            f"{first_lower(group)}{'' if group.endswith('against') else ','} {title} "
            f"({measure.shown(record)}, the aim: {measure.aim(record)})"
        )
    reached = f"Of {len(asked)} aims that were measured, {len(asked) - len(missed)} are reached"
    return f"{reached}; missed: {'; '.join(names)}."


def other_device(record: Record | None, device: str) -> str:
    """Return what is said where the other kind of device has no record; empty if it has one."""
    if record is not None:
        return ""
    name = {"cpu": "cuda", "cuda": "cpu"}[device]
    return (
        f"No {NAMES[name]} has been measured, so nothing on this page says how fast one is. On a machine "
        f"that has one, `python -m benchmarks --device {name}` files `benchmarks/results/{name}.json`, and "
        "this page shows it."
    )


def sklearn_words(record: Record) -> str:
    """Return what scikit-learn and the bank end with on the same runs; empty if that was not measured."""
    found = record.get("linear.quality", {})
    if not {"bank", "sklearn"} <= set(found):
        return ""
    ends = [
        f"{name} ends with a training loss of {found[way]['training_loss']:.3f} and "
        f"{percent(found[way]['held_out_accuracy'])} of clean held-out samples right"
        for way, name in (("sklearn", "scikit-learn"), ("bank", "the bank"))
    ]
    steps = record.get("linear.iterations") or []
    until = f" after {min(steps)} to {max(steps)} iterations" if steps else ""
    return (
        "Scikit-learn minimises the same loss by another method, in full batches until a tolerance is met"
        f"{until}, where the bank goes through {record.setting('linear').get('epochs', 'its')} epochs: "
        f"{ends[0]}, {ends[1]}."
    )


def speed_frame(record: Record) -> pd.DataFrame:
    """Return milliseconds per head and epoch of every way to train that was timed.

    Columns panel (title), way, low, median, high (over rounds), and ratio to the bank of the panel; banks of
    other widths than that of a study are left out.
    """
    import pandas as pd

    rows = []
    for part in ("heads", "linear"):
        words = title_words(record, part)
        panel = "{head} heads, D = {n_features}".format_map(words)
        ways = {
            name: way
            for name, way in walk(record, f"{part}.seconds_per_head_epoch")
            if not name.startswith("bank_")
        }
        bank, before = ways.get("bank", {}).get("median"), ""
        for name, way in ways.items():
            low, median, high = (1e3 * float(way[end]) for end in ("min", "median", "max"))
            ratio = median / (1e3 * bank) if bank else float("nan")
            title = str(way.get("title", name))
            if title.startswith(" "):  # "  with 2 loader processes", under the case before it
                title = f"{before.partition(',')[0]}, {title.strip()}"
            before = title
            rows.append([first_upper(panel), title, name == "bank", low, median, high, ratio])
    return pd.DataFrame(rows, columns=["panel", "way", "bank", "low", "median", "high", "ratio"])
