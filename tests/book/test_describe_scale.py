"""What the chapter on large studies says: numbers by hand, and texts that turn with the record."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_record import made_record

from noisylib.analysis import bank_memory, cost_model
from noisylib.analysis.machines import GPUS, run_seconds
from noisylib.book.benchmark_record import Record
from noisylib.book.describe import scale, scale_check, scale_gpu, scale_memory, scale_traffic
from noisylib.book.scale_parameters import ScaleParameters
from noisylib.book.scale_record import measured_files
from noisylib.errors import ConfigError, MissingDataError

P = ScaleParameters()
SPACE = "\N{NO-BREAK SPACE}"


def plain(text: str) -> str:
    return text.replace(SPACE, " ")


def costs() -> cost_model.Costs:
    return cost_model.read_costs(made_record())


def test_parameters_name_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match="the least first"):
        ScaleParameters(shares=[0.3, 0.05])
    with pytest.raises(ConfigError, match="the least first"):
        ScaleParameters(shares=[0.3])
    with pytest.raises(ConfigError, match=r"cores=\[\] is empty"):
        ScaleParameters(cores=[])
    assert (P.low_share, P.high_share, P.gpu) == (0.05, 0.3, "h100")
    assert "dividemix" in P.methods


def test_three_plans() -> None:
    plans = scale.plans(P)
    assert [(p.work.runs, p.work.samples) for p in plans.values()] == [
        (1_000_000, 8000), (6000, 10_000_000), (1_000_000, 10_000_000)
    ]  # fmt: skip
    assert plans["both"].title == "1,000,000 runs on 10,000,000 samples"
    assert plans["runs"].work.test_samples == 2000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0.20 s"), (90, "1.5 min"), (7200, "2.0 h"), (86400 * 30, "30 days"), (31557600 * 12, "12 years")],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert plain(scale.span(seconds)) == text


def test_large_numbers() -> None:
    assert plain(scale.power(2.84e19)) == "2.8 \N{MULTIPLICATION SIGN} 10{sup}`19`"
    assert plain(scale.power(9.99e4)) == "1.0 \N{MULTIPLICATION SIGN} 10{sup}`5`"
    assert plain(scale.between(60, 119)) == "1.0 min to 2.0 min"
    assert plain(scale.between(60, 60.1)) == "1.0 min"


def test_cores_lose_what_two_processes_lost() -> None:
    record = made_record()
    assert scale.core_share(record)[0] == pytest.approx(0.95), "the engine's, where there is one"
    assert scale.core_share({**record, "engine.speedup_two_processes": None})[0] == pytest.approx(0.9)
    assert scale.core_share({}) == (1.0, "")
    assert "each is worth 95 %" in plain(scale.share_words(record))
    assert "the record does not measure it" in scale.share_words({})
    assert scale.wall_seconds(100, 1, 9, 0.5) == 100, "one core loses nothing"
    assert scale.wall_seconds(100, 4, 9, 0.5) == 50
    assert scale.wall_seconds(100, 4, 2, 0.5) == 100, "two chunks keep two cores busy"


def test_time_table_is_the_model() -> None:
    p = replace(P, cores=[1, 10])
    table = scale.time_table(p, costs(), 2.0, made_record()).set_index("Study")
    work = scale.plans(p)["runs"].work
    seconds = costs().study_seconds(work, runs_per_chunk=30, effort=2)
    row = table.loc["1,000,000 runs on 8,000 samples"]
    assert row["One core"] == row["1 core"] == scale.span(seconds)
    assert row["10 cores"] == scale.span(seconds / 9.5)


def test_prices_add_up() -> None:
    table = scale.price_table(costs(), scale_memory.chunk(P, 8000), made_record()).set_index("Work")
    shares = [float(text.split(SPACE)[0]) for text in table["Share of a bank's time"]]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert plain(table.loc["matrix products", "Price"]).startswith("1.0")
    # 1 ns per operation against 90 GFLOP/s of the larger product.
    assert plain(table.loc["matrix products", "That is"]).endswith(" GFLOP/s, 1 % of the best square product")
    assert plain(table.loc["Adam", "That is"]) == "9.3 GB/s", "28 bytes in 3 ns"
    assert plain(table.loc["gathering batches", "That is"]) == "1.1 GB/s", "8 bytes in 7 ns"


def facts(*ratios: float) -> dict:
    points = [{"axis": "D", "value": 1000 * (i + 1), "ratio": r} for i, r in enumerate(ratios)]
    return scale_check.error_facts(points)


def test_the_verdict_turns_with_the_error() -> None:
    assert plain(facts(1.0, 0.5, 1.2)["worst_at"]) == "D = 2,000"
    assert scale_check.error_words(facts(1.0, 1.2)).endswith("close enough to plan with.")
    rough = scale_check.error_words(facts(1.0, 1.0, 0.6))
    assert "0.60 times at" in rough
    assert "by a factor of 1.67" in rough
    assert rough.endswith("a plan to within such a factor.")
    assert scale_check.error_words(facts(1.0, 3.0)).endswith("an order of magnitude.")


def test_sizes_beyond_the_curves_are_named() -> None:
    record = made_record()
    text = plain(scale_check.beyond_words(P, record))
    assert "N = 10,000,000 (measured: 40 to 80)" in text
    inside = replace(P, runs_per_chunk=15, n_features=12, n_classes=3)
    record["scaling.curves"]["N"]["values"] = [40, 10**8]
    assert "lie within" in scale_check.beyond_words(inside, record)


def test_banks_are_told_apart_by_head() -> None:
    assert scale_check.bank_words([]) == ""
    text = scale_check.bank_words([{"value": "adapter", "ratio": 1.1}, {"value": "linear", "ratio": 0.9}])
    assert text.endswith(
        "1.10 times the measured one for adapter heads and 0.90 times the measured one for linear heads."
    )


def test_memory_table_is_the_count() -> None:
    table = scale_memory.memory_table(P).set_index("Part")
    memory = bank_memory.bank_memory(scale_memory.chunk(P, 10_000_000))
    assert table.loc["**most at any time**", "Processor, 10,000,000 samples"] == scale_memory.size(
        memory.peak
    )
    assert plain(scale_memory.size(1.26e11)) == "126 GB"
    assert plain(scale_memory.size(12)) == "12 bytes"


def test_what_fits_turns_with_the_memory() -> None:
    assert "fits into no host" in scale_memory.short_words(P)
    assert "That fits into no host considered here." in scale_memory.fit_words(P)
    some = replace(P, memories=[16, 4000])
    assert "fits into host, 4,000 GB." in plain(scale_memory.short_words(some))
    assert "fits into host, 4,000 GB only." in plain(scale_memory.fit_words(some))
    assert "every host" in scale_memory.fit_words(replace(P, memories=[4000, 8000]))
    table = scale_memory.fit_table(some).set_index("Memory")
    assert table.loc[f"host, 4,000{SPACE}GB", "The large set"] == "fits"
    assert table.loc[f"host, 16{SPACE}GB", "The large set"].endswith("times too large")


def test_the_limit_in_the_table_is_the_limit() -> None:
    table = scale_memory.fit_table(P).set_index("Memory")
    shown = int(table.loc[f"host, 16{SPACE}GB", "Most samples, adapter"].replace(",", ""))

    def peak(samples: int) -> float:
        return bank_memory.bank_memory(scale_memory.chunk(P, samples)).peak

    assert peak(shown) <= 16e9 < peak(int(1.1 * shown))


def test_measured_memory_is_set_beside_the_count() -> None:
    # N = 40 and K = 2: 8 bytes a label and 16 of scores.
    assert "by the model it adds 336 bytes" in plain(scale_memory.memory_check(made_record()))
    assert "nothing checks these bytes" in scale_memory.memory_check({})


def test_disks_must_keep_up() -> None:
    work = replace(scale_memory.chunk(P, P.samples), runs=10)
    assert work.heads_at_once == 10, "the least, where heads are this large"
    rate = 2 * 768 * work.samples / sum(costs().epoch_seconds(work).values())
    text = scale_traffic.disk_words(P, costs(), made_record())
    assert f"must then come at {scale_memory.size(rate)} a second" in text
    assert text.endswith("has not been measured yet.")
    mapped = scale_traffic.disk_words(P, costs(), {"mapped.slowdown": {"adapter": 1.25}})
    assert mapped.endswith("takes 1.25 times for adapter heads as long.")


def test_traffic_by_hand() -> None:
    p = replace(P, cores=[4, 2], n_gpus=3, n_features=100)
    table = scale_traffic.traffic_table(p, {"row": 50.0, "file": 1000.0}).set_index("Study")
    row = table.loc["6,000 runs on 10,000,000 samples"].map(plain)
    # 12.5 million samples of 2 * 100 + 17 bytes.
    assert row["Bank's file"] == "2.7 GB"
    assert (row["Sent, 4 workers"], row["Sent, 3 GPUs"]) == ("11 GB", "8.1 GB")
    assert (row["Chunk files"], row["On disk"], row["Collected"]) == ("200", "200 kB", "300 kB")


def test_result_bytes_are_those_of_files(tmp_path: Path) -> None:
    rows = pd.DataFrame({"run_id": [f"{i:032x}" for i in range(100)], "accuracy": np.linspace(0, 1, 100)})
    found = scale_traffic.result_bytes(rows, 30)
    rows.to_parquet(tmp_path / "all.parquet", index=False)
    rows[:30].to_parquet(tmp_path / "part.parquet", index=False)
    assert found["row"] == pytest.approx((tmp_path / "all.parquet").stat().st_size / 100)
    assert found["file"] == (tmp_path / "part.parquet").stat().st_size


def test_gpus_are_a_range() -> None:
    plan = scale.plans(P)["both"]
    low, high = scale_gpu.gpu_seconds(P, plan, GPUS["h100"], 2.0)
    work = replace(plan.work, cache=None)
    assert low == pytest.approx(2e6 * run_seconds(work, GPUS["h100"], 0.3))
    assert high == pytest.approx(2e6 * run_seconds(work, GPUS["h100"], 0.05))
    table = scale_gpu.gpu_table(replace(P, n_gpus=10, price=3.0), 2.0)
    row = table[(table["GPU"] == GPUS["h100"].title)].iloc[2]
    assert row["10 GPUs"] == scale.between(low / 10, high / 10)
    words = scale_gpu.range_words(P, 2.0)
    assert f"at an assumed {P.price:g} USD per hour" in words
    assert "5 to 30" in words


def test_bands_begin_where_gpus_are_busy() -> None:
    frame = scale_gpu.gpu_frame(P, 1.0, [1, 100, 100_000])
    assert list(zip(frame["runs"], frame["gpus"], strict=True)) == [(100, 1), (100_000, 1), (100_000, 100)]
    assert (frame["low"] < frame["high"]).all()


def test_a_gpu_that_was_measured_is_named() -> None:
    assert scale_gpu.measured_words(P, None, 1.0).startswith("No GPU has been measured")
    record = made_record()
    machine = {"date": "2026-01-31", "machine": {"gpu": "Made GPU"}}
    values = {**record, "measured": dict.fromkeys(record["measured"], machine)}
    text = scale_gpu.measured_words(P, Record("cuda", values), 1.0)
    assert text.startswith("One GPU has been measured, Made GPU.")
    assert "100 of them" in text


def test_what_limits_a_gpu_is_said() -> None:
    assert "would wait for memory" in scale_gpu.bound_words(replace(P, gpus=["l4"], shares=[0.05, 1.0]))
    assert "At neither end" in scale_gpu.bound_words(replace(P, gpus=["h100"], shares=[0.01, 0.02]))
    assert "do not leave room for one head" in scale_gpu.width_words(P)
    assert "room for" in scale_gpu.width_words(replace(P, samples=10_000)).rpartition(". ")[2]


def test_a_record_without_the_parts_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOISYLIB_BENCHMARKS", str(tmp_path))
    record = made_record()
    (tmp_path / "cpu.json").write_text(json.dumps(record))
    assert measured_files("cpu") == [tmp_path / "cpu.json"]
    del record["measured"]["scaling"]
    (tmp_path / "cpu.json").write_text(json.dumps(record))
    with pytest.raises(MissingDataError, match=r"lacks scaling.*--no-heads --scaling'"):
        measured_files("cpu")
