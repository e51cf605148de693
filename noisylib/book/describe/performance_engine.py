"""Processes and machines, the archive, number formats and features on disk: what the record has of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from noisylib.book.benchmark_record import Record
from noisylib.book.describe.performance_numbers import duration, number, percent, times
from noisylib.methods import METHODS

if TYPE_CHECKING:
    import pandas as pd

ENGINE = {
    "heads.two_process_speedup": "Two processes that train a bank each do {value} the work of one.",
    "engine.speedup_two_processes": "A study in two processes is {value} as fast as in one.",
    "engine.speedup_two_dask_workers": "With two Dask workers it is {value} as fast as with one.",
}


def engine_reading(record: Record) -> str:
    """Return what two processes, two workers and a killed worker do, as far as it was measured."""
    texts = [
        text.format(value=times(float(record.get(key)))) for key, text in ENGINE.items() if record.has(key)
    ]
    if record.has("engine.overhead_per_chunk_seconds"):
        cost = float(record.get("engine.overhead_per_chunk_seconds"))
        texts.append(f"Handing out a chunk and taking back its rows costs {duration(cost)}.")
    chunks = record.get("engine.killed_worker/chunks_repeated")
    if chunks is not None:
        again = "no chunk was" if not chunks else f"{chunks:g} chunk{' was' if chunks == 1 else 's were'}"
        lost = record.get("engine.killed_worker/seconds_lost")
        late = "" if lost is None else f", and the study ended {duration(float(lost))} later"
        texts.append(f"When a worker was killed in the middle of a study, {again} computed again{late}.")
    if not record.has("engine.speedup_two_processes") and not record.has("engine.speedup_two_dask_workers"):
        texts.append(record.absent("Studies shared by processes and by Dask workers have", "engine"))
    return " ".join(texts)


def archive_frame(record: Record) -> pd.DataFrame:
    """Return the archive by method: columns method, title, seconds (of a run) and share of its time."""
    import pandas as pd

    from noisylib.methods import METHODS

    spent = {
        method: float(way.get("mean", way["median"]))  # the mean is that over all runs, not over the sample
        for method, way in record.get("archive.seconds_per_run", {}).items()
    }
    titles = {name: METHODS[name].title if name in METHODS else name for name in spent}
    frame = pd.DataFrame({"method": list(titles), "title": list(titles.values())})
    frame["seconds"] = [spent[method] for method in titles]
    # Every method of the archive has as many runs.
    return frame.assign(share=frame["seconds"] / frame["seconds"].sum()).sort_values(
        "seconds", ascending=False
    )


def archive_reading(record: Record) -> str:
    """Return what the archive takes, where its time goes, and what it took when it was recorded."""
    texts = []
    if record.has("archive.estimated_wall_seconds"):
        jobs = record.get("archive.jobs")
        ways = "" if jobs is None else f" in {jobs} process{'' if jobs == 1 else 'es'}"
        texts.append(
            f"From chunks of every method, the archive of 6,000 runs is estimated to take "
            f"**{duration(float(record.get('archive.estimated_wall_seconds')))}**{ways}"
        )
        if record.has("archive.estimated_seconds"):
            texts[0] += f", {duration(float(record.get('archive.estimated_seconds')))} in one"
        if record.has("archive.standard_error_seconds"):
            error = duration(float(record.get("archive.standard_error_seconds")))
            texts[0] += f" (standard error of the sample {error})"
        texts[0] += "."
    if record.has("archive.slower_beside_others"):
        slower = times(float(record.get("archive.slower_beside_others")))
        texts.append(f"A process beside others took {slower} as long for the same chunks as one alone.")
    whole = record.get("archive.whole/wall_seconds")
    if whole is not None:
        texts.append(f"Run from beginning to end, it took **{duration(float(whole))}**.")
    frame = archive_frame(record) if record.has("archive.seconds_per_run") else None
    if frame is not None and len(frame) > 1:
        most, least = frame.iloc[0], frame.iloc[-1]
        texts.append(
            f"{most['title']} takes most of it, {percent(most['share'])}, {least['title']} least, "
            f"{percent(least['share'])}."
        )
    wall = _first(record.get("archive.recorded", {}), "wall", "wall_seconds")
    if wall is not None:
        texts.append(f"The archive on file took {duration(wall)}{_recorded_with(record)}.")
    return " ".join(texts) or record.absent("The wall time of the archive has", "archive")


def _recorded_with(record: Record) -> str:
    found = record.get("archive.recorded", {})
    jobs, core = _first(found, "jobs"), _first(found, "core_seconds", "core seconds", "core")
    parts = [] if jobs is None else [f"in {jobs:g} process{'' if jobs == 1 else 'es'}"]
    if core is not None:
        parts.append(f"with {duration(core)} of processor time")
    return f" {', '.join(parts)}, with the code and on the machine of that day" if parts else ""


def _first(values: Mapping[str, Any], *names: str) -> float | None:
    """Return the first of `names` that is a number."""
    for name in names:
        if isinstance(values.get(name), int | float):
            return float(values[name])
    return None


def archive_table(record: Record) -> pd.DataFrame:
    """Return seconds per run and share of the archive's time, per method."""
    import pandas as pd

    frame = archive_frame(record)
    return pd.DataFrame(
        {
            "Method": frame["title"],
            "A run": [duration(value) for value in frame["seconds"]],
            "Share of the archive": [percent(value) for value in frame["share"]],
        }
    )


def precision_table(record: Record) -> pd.DataFrame:
    """Return each way to compute products with its speed."""
    import pandas as pd

    speeds = record.get("precision.speedup", {})
    return pd.DataFrame(
        [{"Products in": f"`{name}`", "Speed": times(float(speed))} for name, speed in speeds.items()]
    )


def precision_effect(record: Record) -> pd.DataFrame:
    """Return what products in bfloat16 change of the balanced accuracy of a method's runs, in points."""
    import pandas as pd

    def points(value: float, form: str = ".2f") -> str:
        return f"{100 * value:{form}}"

    return pd.DataFrame(
        [
            {
                "Method": METHODS[name].title,
                "Pairs of runs": effect["runs"],
                "Mean": points(effect["mean"], "+.2f"),
                "Largest": points(effect["largest"]),
                "Two seeds differ by up to": points(effect["seeds"]),
            }
            for name, effect in record.get("precision.effect", {}).items()
        ]
    )


def mapped_reading(record: Record) -> str:
    """Return how much slower features on disk are than in memory, per kind of head."""
    slow = {head: float(value) for head, value in record.get("mapped.slowdown", {}).items()}
    if not slow:
        return record.absent("Features that stay on disk have", "mapped")
    parts = [f"{number(value, 'times')} as long for {head} heads" for head, value in slow.items()]
    worst = max(slow.values())
    verdict = (
        "no slower than in memory" if worst <= 1 else f"at most {percent(worst - 1)} slower than in memory"
    )
    return f"With features memory-mapped from disk an epoch takes {', '.join(parts)}: {verdict}."
