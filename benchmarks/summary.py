"""One table per device: what was measured, what it should be, and whether it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Record = Mapping[str, object]
FORMS = {"times": "{:.2f} x", "share": "{:.0%}", "minutes": "{:.1f} min", "count": "{:g}", "slope": "{:.2f}"}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    key : "<part>.<name>" of the record; "/" looks into a mapping.
    what : words for it; braces are filled from the part's setting.
    form : how it is shown, a key of ``FORMS``. Minutes are on file in seconds.
    aims : kind of device -> what is aimed at, in the unit of the record.
    at_most : whether less is better.
    """

    key: str
    what: str
    form: str = "times"
    aims: Mapping[str, float] = field(default_factory=dict)
    at_most: bool = False

    @property
    def part(self) -> str:
        """The part of the benchmarks that measures it."""
        return self.key.partition(".")[0]

    def value(self, record: Record) -> float | None:
        """Return the number on file, or None."""
        found: object = record
        for name in self.key.split("/"):
            found = found.get(name) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) else None

    def shown(self, value: float) -> str:
        """Return a value as the table shows it."""
        return FORMS[self.form].format(value / 60 if self.form == "minutes" else value)

    def reached(self, value: float, device: str) -> str:
        """Return yes, no, or nothing where nothing is aimed at. What is compared is the value as measured."""
        if device not in self.aims:
            return ""
        aim = self.aims[device]
        return "yes" if (value <= aim if self.at_most else value >= aim) else "no"

    def aim(self, device: str) -> str:
        """Return what is aimed at, in words."""
        if device not in self.aims:
            return ""
        return f"{'at most' if self.at_most else 'at least'} {self.shown(self.aims[device])}"

    def words(self, record: Record) -> str:
        """Return `what` with the sizes of the part's setting."""
        return self.what.format_map(_Sizes(record.get(f"{self.part}.setting") or {}))


class _Sizes(dict):
    """Sizes of a setting; one that it lacks is shown as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


GROWTH = [
    Row(f"scaling.curves/{axis}/{name}", f"growth of an epoch with {axis}{over}: slope", "slope")
    for axis in "RNDK"
    for name, over in (("slope", ""), ("slope_upper_half", ", larger half"))
]
BANK = "{runs} {head} heads, D={n_features}:"
ROWS = [
    Row("heads.speedup_tight", f"{BANK} against a tight loop", "times", {"cpu": 4, "cuda": 100}),
    Row("heads.speedup_dataloader", f"{BANK} against a DataLoader loop"),
    Row("heads.speedup_dataloader_workers", f"{BANK} ... with two loader processes"),
    Row("heads.speedup_vmap", f"{BANK} against vmap"),
    Row("heads.speedup_moduledict", f"{BANK} against a ModuleDict"),
    Row("heads.gemm_fraction", f"{BANK} share of the matrix rate", "share", {"cpu": 0.6}),
    Row("heads.gemm_fraction_plain", f"{BANK} ... without folding products", "share"),
    Row(
        "heads.gemm_fraction_wide", "adapter heads, D=768, batch 512: share of the matrix rate", "share",
        {"cuda": 0.3},
    ),
    Row("heads.two_process_speedup", "two processes with a bank each, against one", "times", {"cpu": 1.85}),
    Row("linear.speedup_tight", f"{BANK} against a tight loop"),
    Row("linear.speedup_vmap", f"{BANK} against vmap"),
    Row("linear.speedup_sklearn", f"{BANK} a finished run, against scikit-learn"),
    Row(
        "linear.gemm_fraction", f"{BANK[:-1]}, batch {{batch_size}}: share of the matrix rate", "share",
        {"cpu": 0.6, "cuda": 0.3},
    ),
    *GROWTH,
    Row(
        "methods.dearest_ranked_per_network_epoch", "dearest ranked method, per network and epoch", "times",
        {"cpu": 6}, at_most=True,
    ),
    Row("mixtures.speedup", "mixtures of many runs, against scikit-learn", "times", {"cpu": 20}),
    Row(
        "extraction.fraction_of_forward", "feature extraction, share of the forward pass", "share",
        {"cpu": 0.85},
    ),
    Row("tuning.turn_to_fft", "TURN, against full fine-tuning"),
    Row("archive.estimated_seconds", "the archive in one process, estimated", "minutes"),
    Row("archive.estimated_wall_seconds", "the archive on all cores, estimated", "minutes"),
    Row("archive.whole/wall_seconds", "the archive, run", "minutes", {"cuda": 180}, at_most=True),
    Row("engine.speedup_two_processes", "a study in two processes, against one", "times", {"cpu": 1.85}),
    Row("engine.speedup_two_dask_workers", "a study on two Dask workers, against one", "times", {"cpu": 1.7}),
    Row(
        "engine.killed_worker/chunks_repeated", "chunks repeated after a worker is killed", "count",
        {"cpu": 1, "cuda": 1}, at_most=True,
    ),
]  # fmt: skip
MAPPINGS = (
    ("precision.speedup", "{} against float32"),
    ("mapped.slowdown", "features on disk, {}: slower by"),
)


def rows_of(record: Record) -> list[Row]:
    """Return the rows that the record has numbers for."""
    more = [
        Row(f"{key}/{name}", what.format(name)) for key, what in MAPPINGS for name in (record.get(key) or {})
    ]
    return [row for row in ROWS + more if row.value(record) is not None]


def table(record: Record, device: str, measured: Sequence[str]) -> str:
    """Return the table of one device.

    Parameters
    ----------
    record : all numbers on file.
    device : "cpu" or "cuda".
    measured : parts measured now; the others get a star.
    """
    rows = rows_of(record)
    if not rows:
        return ""
    texts = [
        (
            row.words(record) + ("" if row.part in measured else " *"),
            row.aim(device),
            row.shown(row.value(record)),
            row.reached(row.value(record), device),
        )
        for row in rows
    ]
    head = (f"all on {device}", "aimed at", "measured", "reached")
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    lines = [
        f"{what:{widths[0]}}  {aim:{widths[1]}}  {value:>{widths[2]}}  {reached:>{widths[3]}}"
        for what, aim, value, reached in (head, *texts)
    ]
    counted = [reached for *_, reached in texts if reached]
    lines.insert(1, "-" * len(lines[0]))
    if counted:
        lines.append(f"{counted.count('yes')} of {len(counted)} aims reached")
    if any(row.part not in measured for row in rows):
        lines.append("* measured before")
    if quick := _quick_parts(record, rows):
        lines.append(f"tiny sizes, whose numbers mean nothing: {', '.join(quick)}")
    return "\n".join(line.rstrip() for line in lines)


def _quick_parts(record: Record, rows: Sequence[Row]) -> list[str]:
    """Return the parts in the table that were measured by --quick."""
    measured = record.get("measured") or {}
    parts = dict.fromkeys(row.part for row in rows)
    return [part for part in parts if measured.get(part, {}).get("quick")]
