"""What limits a training step: its operations against the rates of arithmetic, of memory and of dispatch.

The roofline model: an operation of intensity I, in floating-point operations per byte moved, does at most
min(arithmetic rate, I x bandwidth) of them a second. Source: Williams, Waterman and Patterson 2009.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisylib.book.benchmark_record import NAMES, Record
from noisylib.book.describe.performance_numbers import (
    duration,
    first_lower,
    first_upper,
    listed,
    percent,
    size,
    times,
)
from noisylib.book.tables import NBSP

if TYPE_CHECKING:
    import pandas as pd

BOUNDS = {"arithmetic": "arithmetic", "memory": "memory", "dispatch": "starting it"}
REST = "rest"  # the interpreter, views, and operations of no class: no roof is meant for it
NEAR = 0.75  # of what the roofs allow


def operations(record: Record) -> pd.DataFrame:
    """Return the operations of a step, one row per kind of head and class of operations.

    Columns head (title), number (of the class, the same for all heads), name, title, flops, bytes, seconds,
    reachable (seconds under the roofs, never more than measured), bound, intensity (flops per byte), share
    (of the step), speed (reachable over measured, in [0, 1]) and gain (seconds above the roofs).
    """
    import pandas as pd

    frame = pd.DataFrame(record.get("roofline.operations"))
    names = list(dict.fromkeys(frame["name"]))
    frame["title"] = frame["title"].map(first_upper)
    frame["head"] = [head_title(record, head) for head in frame["head"]]
    frame["number"] = [names.index(name) + 1 for name in frame["name"]]
    # A roof measured between two moods of the machine can come out above an operation's own time.
    frame["reachable"] = frame[["reachable_seconds", "seconds"]].min(axis=1)
    frame["intensity"] = frame["flops"] / frame["bytes"].where(frame["bytes"] > 0)
    frame["share"] = frame["seconds"] / frame.groupby("head")["seconds"].transform("sum")
    frame["speed"] = frame["reachable"] / frame["seconds"]
    frame["gain"] = frame["seconds"] - frame["reachable"]
    return frame.drop(columns="reachable_seconds")


def head_title(record: Record, head: str) -> str:
    """Return a kind of head with the width of its features, as far as the record tells it."""
    width = record.setting("roofline").get("heads", {}).get(head)
    return first_upper(f"{head} heads" if width is None else f"{head} heads, D = {width}")


def step_words(record: Record, figure: str) -> str:
    """Return what the roofline figure of that label draws, and which classes it leaves out."""
    setting = record.setting("roofline")
    named = {"runs": "{} heads", "batch_size": "batches of {}", "n_classes": "{} classes"}
    parts = [text.format(setting[name]) for name, text in named.items() if name in setting]
    text = f"{{numref}}`{figure}` draws the operations of a step{f' of {listed(parts)}' if parts else ''}"
    frame = operations(record)
    shown = set(frame.loc[drawn(frame), "name"])
    absent = list(dict.fromkeys(frame.loc[~frame["name"].isin(shown), "title"]))
    if not absent:
        return f"{text}."
    return f"{text}, but for those without a roof of their own: {listed([first_lower(t) for t in absent])}."


def gemm_rate(record: Record) -> float:
    """Return the highest rate of a large matrix product, in floating-point operations a second."""
    return 1e9 * max(map(float, record.get("roofline.gemm").values()))


def bandwidths(record: Record) -> dict[int, float]:
    """Return bytes of the working set -> bytes a second, of a few that were measured, smallest first.

    They are the fastest one, the largest one, which no cache holds, and the one halfway between them.
    """
    every = {int(float(n)): 1e9 * float(rate) for n, rate in record.get("roofline.bandwidth").items()}
    sizes = sorted(every)
    fastest, largest = sizes.index(max(every, key=every.__getitem__)), len(sizes) - 1
    kept = sorted({fastest, (fastest + largest) // 2, largest})
    return {sizes[i]: every[sizes[i]] for i in kept}


def roof_names(record: Record) -> dict[str, float]:
    """Return what a legend calls the roofs -> bytes a second, smallest working set first."""
    return {f"roof over {size(n)}: {rate / 1e9:,.3g} GB/s": rate for n, rate in bandwidths(record).items()}


def roofs_words(record: Record) -> str:
    """Return the measured rates in a sentence."""
    rates = [f"{rate / 1e9:,.3g}{NBSP}GB/s over {size(n)}" for n, rate in bandwidths(record).items()]
    text = (
        f"The {NAMES[record.device]} does {gemm_rate(record) / 1e9:,.3g} billion floating-point operations a "
        f"second (GFLOP/s) in a large matrix product, and moves {listed(rates)}."
    )
    if record.has("roofline.dispatch_seconds"):
        start = duration(record.get("roofline.dispatch_seconds"))
        text += f" Starting an operation costs {start}, however little it does."
    return text


def step_table(record: Record) -> pd.DataFrame:
    """Return the classes of operations with work, time, limit and how much of the limit's speed they have."""
    import pandas as pd

    rows, before = [], ""
    for row in operations(record).itertuples():
        rows.append(
            {
                "Heads": row.head if row.head != before else "",
                "No.": str(row.number),
                "Operations": row.title,
                "MFLOP": f"{row.flops / 1e6:,.1f}",
                "MB": f"{row.bytes / 1e6:,.1f}",
                "Time": duration(row.seconds),
                "Share": percent(row.share),
                "Limit": BOUNDS.get(row.bound, row.bound),
                "Of its roof": "" if row.name == REST else percent(row.speed),
            }
        )
        before = row.head
    return pd.DataFrame(rows)


def step_reading(record: Record) -> str:
    """Return a list: per kind of head, what costs most, what limits the step, where time can be won."""
    parts = operations(record).groupby("head", sort=False)
    return "\n".join(f"- {_head_reading(head, part)}" for head, part in parts)


def _head_reading(head: str, part: pd.DataFrame) -> str:
    whole = part["seconds"].sum()
    dearest = part.loc[part["seconds"].idxmax()]
    text = (
        f"**{head}**: a step takes {duration(whole)}, of which {first_lower(dearest['title'])} "
        f"{percent(dearest['share'])}. "
    )
    limits = part.groupby("bound")["share"].sum().sort_values(ascending=False)
    named = [f"{BOUNDS.get(name, name)} {percent(share)}" for name, share in limits.items()]
    text += f"By limit: {listed(named)}. "
    text += f"At the roofs the step would take {percent(part['reachable'].sum() / whole)} of its time"
    roofed = part[part["name"] != REST]
    if (roofed["speed"] >= NEAR).all():
        return f"{text}; every class that has a roof reaches at least {percent(NEAR)} of it."
    first = roofed.loc[roofed["gain"].idxmax()]
    return (
        f"{text}; most is to be won in {first_lower(first['title'])}, {duration(first['gain'])} a step, at "
        f"{percent(first['speed'])} of the roof."
    )


def dispatch_reading(record: Record) -> str:
    """Return how much of each step is spent on starting operations, as far as that was counted."""
    cost = record.get("roofline.dispatch_seconds")
    frame = operations(record)
    if cost is None or "calls" not in frame:
        return ""
    parts = []
    for head, part in frame.groupby("head", sort=False):
        calls = part["calls"].sum()
        share = percent(calls * cost / part["seconds"].sum())
        parts.append(f"{calls:,.0f} in a step of {first_lower(head)}, {share} of its time")
    return f"Starts of operations: {listed(parts)}."


def drawn(operations: pd.DataFrame) -> pd.Series:
    """Return which rows have a place in a roofline: those with arithmetic, but for the rest."""
    return (operations["flops"] > 0) & (operations["bytes"] > 0) & (operations["name"] != REST)


def gemm_words(record: Record) -> str:
    """Return the shares of the matrix-product rate: of what is executed, and of what the equations ask."""
    parts = []
    for part in ("heads", "linear"):
        if not record.has(f"{part}.gemm_fraction"):
            continue
        setting = record.setting(part)
        head, width = setting.get("head", part), setting.get("n_features", "?")
        text = f"{head} heads at D{NBSP}={NBSP}{width} reach {percent(record.get(f'{part}.gemm_fraction'))}"
        plain = record.get(f"{part}.gemm_fraction_plain")
        if plain is not None:
            text += f" ({percent(plain)} if only the products of the equations count)"
        parts.append(text)
    if not parts:
        return ""
    return f"Of the rate of large matrix products, {listed(parts)}."


def bank_width_words(record: Record) -> str:
    """Return how much faster per head a bank of many heads is than one of few; empty if not measured."""
    ways = record.get("heads.seconds_per_head_epoch", {})
    widths = {
        int(name.removeprefix("bank_")): float(way["median"])
        for name, way in ways.items()
        if name.startswith("bank_") and name.removeprefix("bank_").isdigit()
    }
    if len(widths) < 2:
        return ""
    few, best = min(widths), min(widths, key=widths.__getitem__)
    tried = ", ".join(map(str, sorted(widths)))
    return (
        f"Per head, a bank of {best} is fastest of the widths that were tried ({tried}); "
        f"one of {few} takes {times(widths[few] / widths[best])} as long."
    )
