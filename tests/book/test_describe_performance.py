"""The chapter on speed: words and tables from a made record, by hand, whole and with parts missing."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from made_benchmarks import made_record

from noisylib.book.describe import performance as words
from noisylib.book.describe import performance_engine as engine
from noisylib.book.describe import performance_limits as limits
from noisylib.book.describe import performance_scaling as scaling
from noisylib.book.describe.performance_numbers import duration, number, size, times
from noisylib.book.tables import NBSP

ALL = (
    "heads",
    "linear",
    "methods",
    "mixtures",
    "extraction",
    "scaling",
    "archive",
    "roofline",
    "engine",
    "precision",
    "mapped",
)


def plain(text: str) -> str:
    return text.replace(NBSP, " ")


@pytest.mark.parametrize(
    ("value", "form", "aim", "text"),
    [
        (4.26, "times", 4, "4.3 times"),
        (1.714, "times", 1.85, "1.71 times"),
        (1.849, "times", 1.85, "1.849 times"),  # 1.85 would look reached
        (3.96, "times", 4, "3.96 times"),
        (0.598, "share", 0.6, "59.8 %"),
        (0.6, "share", 0.6, "60 %"),
        (0.4156, "share", None, "42 %"),
        (181.0, "seconds", 180, "3.02 min"),
        (1234.0, "times", None, "1,234 times"),
    ],
)
def test_a_number_shows_on_which_side_of_its_aim_it_is(value, form, aim, text) -> None:
    assert plain(number(value, form, aim)) == text


def test_units_fit_the_number() -> None:
    seconds = (2e-8, 2.5e-6, 0.0123, 0.25, 12.34, 150, 7200)
    texts = ["20.0 ns", "2.5 µs", "12.3 ms", "250 ms", "12.3 s", "2.5 min", "2.0 h"]
    assert [plain(duration(value)) for value in seconds] == texts
    assert [plain(size(n)) for n in (12, 2048, 1000 * 1024, 3.5 * 2**30)] == [
        "12 B",
        "2 KiB",
        "0.977 MiB",
        "3.5 GiB",
    ]
    assert plain(times(12.34)) == "12.3 times"


def aims(record) -> dict[str, tuple[str, str, str]]:
    frame = words.aims_table(record)
    group = frame["What"].replace("", None).ffill()
    rows = zip(frame["Measured"], frame["Aimed at"], frame["Reached"], strict=True)
    names = [plain(f"{a} {b}") for a, b in zip(group, frame["Against what, or how"], strict=True)]
    return {name: tuple(map(plain, row)) for name, row in zip(names, rows, strict=True)}


def test_every_measure_stands_beside_its_aim() -> None:
    found = aims(made_record())
    assert len(found) == 17
    assert found["The dearest ranked method against cross entropy, per network and epoch"][1:] == (
        "≤ 6 times",
        "yes",
    )
    assert found["Mixtures of many runs against a loop over scikit-learn"][2] == "yes"
    bank = "A bank of 50 adapter heads, D = 192, against"
    assert found[f"{bank} a tight loop, one run at a time"] == ("5.0 times", "≥ 4 times", "yes")
    assert found[f"{bank} a DataLoader loop in one process"] == ("8.0 times", "≥ 100 times", "no")
    assert found[f"{bank} a ModuleDict stepped together"] == ("3.5 times", "", "")
    linear = "A bank of 50 linear heads, D = 768, against"
    assert found[f"{linear} scikit-learn, a finished run each"] == ("30.0 times", "", "")
    rate = "Share of the matrix-product rate"
    executed = f"{rate} adapter heads, D = 192, products that a step executes"
    assert found[executed] == ("55 %", "≥ 60 %", "no")
    assert found[f"{rate} linear heads, D = 768"] == ("65 %", "≥ 60 %", "yes")
    assert found["Two processes sharing a study"] == ("1.80 times", "≥ 1.85 times", "no")
    assert found["Two Dask workers sharing a study"] == ("1.75 times", "≥ 1.7 times", "yes")
    assert found["A worker killed chunks done again"] == ("1", "≤ 1", "yes")
    assert found["Features share of the bare forward pass"] == ("90 %", "≥ 85 %", "yes")
    assert found["The archive wall time, 2 processes, estimated"] == ("65.0 min", "", "")


def test_a_gpu_has_aims_of_its_own() -> None:
    wide = {"heads__gemm_fraction_wide": 0.31, "heads__setting_wide": {"n_features": 768, "batch_size": 512}}
    found = aims(made_record(device="cuda", archive__whole={"wall_seconds": 170.0}, **wide))
    assert found["The archive wall time, run"] == ("2.8 min", "≤ 3 min", "yes")
    tight = next(name for name in found if "adapter heads" in name and "tight" in name)
    assert found[tight] == ("5.0 times", "≥ 100 times", "no")
    rate = "Share of the matrix-product rate adapter heads, D = 768, batch 512"
    assert found[rate] == ("31 %", "≥ 30 %", "yes")
    assert not any("512" in name for name in aims(made_record()))


def test_aims_are_those_of_the_benchmarks(root, monkeypatch) -> None:
    monkeypatch.syspath_prepend(root)
    summary = importlib.import_module("benchmarks.summary")
    theirs = {row.key: (row.aims, row.at_most) for row in summary.ROWS if row.aims}
    ours = {measure.key: (measure.aims, measure.at_most) for measure in words.MEASURES if measure.aims}
    assert len(set(theirs) & set(ours)) > 8
    for key in set(theirs) & set(ours):
        assert theirs[key] == ours[key], key


def test_an_aim_is_reached_on_its_own_side() -> None:
    killed = next(measure for measure in words.MEASURES if measure.at_most and "engine" in measure.key)
    assert killed.reached(made_record()) is True
    two = made_record(engine__killed_worker={"chunks_repeated": 2})
    assert killed.reached(two) is False
    assert killed.reached(made_record(without=("engine",))) is None


def test_the_answer_counts_the_aims_and_names_those_missed() -> None:
    text = plain(words.in_short(made_record()))
    assert "**5.0 times as fast** as the same runs in a tight loop, 8.0 times as fast as the usual" in text
    assert "at 55 % of the rate that the processor reaches" in text
    assert "Of 11 aims that were measured, 8 are reached; missed: a bank of 50 adapter heads" in text
    assert "two processes, sharing a study (1.80 times, the aim: ≥ 1.85 times)" in text
    better = {"heads__speedup_dataloader": 101.0, "heads__gemm_fraction": 0.6}
    best = words.in_short(made_record(engine__speedup_two_processes=1.9, **better))
    assert best.endswith("Every aim that was measured, 11 in all, is reached.")
    assert words.in_short(made_record(without=ALL)) == "Nothing that has an aim has been measured."


def test_missing_lines_are_named_with_their_command() -> None:
    assert words.not_measured(made_record()) == ""
    text = words.not_measured(made_record(without=("linear.speedup_sklearn", "engine")))
    assert "lines on linear heads and studies shared by processes and workers are not in the table" in text
    assert "--no-heads --linear --engine`" in text
    assert "wide" not in text


def test_the_other_device_is_said_to_be_unmeasured() -> None:
    assert words.other_device(None, "cpu").startswith("No GPU has been measured, so nothing on this page")
    assert "--device cpu" in words.other_device(None, "cuda")
    assert words.other_device(made_record(), "cpu") == ""


def test_scikit_learn_is_compared_by_what_it_ends_with() -> None:
    text = plain(words.sklearn_words(made_record()))
    assert "after 40 to 44 iterations, where the bank goes through 50 epochs" in text
    assert "scikit-learn ends with a training loss of 0.600 and 89 % of clean held-out samples right" in text
    assert "the bank ends with a training loss of 0.610 and 90 %" in text
    assert words.sklearn_words(made_record(without=("linear.quality",))) == ""


def test_ways_to_train_are_in_milliseconds_beside_their_bank() -> None:
    frame = words.speed_frame(made_record()).set_index(["panel", "way"])
    assert len(frame) == 8
    row = frame.loc["Adapter heads, D = 192", "DataLoader loop, with 2 loader processes"]
    assert (row["low"], row["median"], row["high"], row["ratio"]) == pytest.approx((96, 120, 150, 12))
    assert frame.loc["Linear heads, D = 768", "tight loop, one run at a time"]["ratio"] == pytest.approx(6)
    assert frame["bank"].sum() == 2
    assert words.speed_frame(made_record(without=("heads", "linear"))).empty


def test_operations_have_shares_and_what_the_roofs_allow() -> None:
    frame = limits.operations(made_record()).set_index(["head", "name"])
    adapter = frame.loc["Adapter heads, D = 192"]
    assert adapter["share"].to_list() == pytest.approx([0.625, 0.1, 0.16, 0.04, 0.075])
    assert adapter["speed"].to_list()[:4] == pytest.approx([0.8, 1, 0.625, 0.5])
    assert adapter["intensity"].to_list()[:3] == pytest.approx([25, 0.5, 0.6])
    assert adapter.loc["optimiser", "gain"] == pytest.approx(0.6e-3)
    assert frame.loc["Linear heads, D = 768"]["number"].to_list() == [1, 3, 4, 5]


def test_a_roof_is_never_slower_than_what_was_measured() -> None:
    record = made_record()
    record.values["roofline.operations"][1]["reachable_seconds"] = 5e-3
    row = limits.operations(record).iloc[1]
    assert (row["speed"], row["gain"]) == (1, 0)


def test_roofs_are_a_few_of_those_measured() -> None:
    record = made_record()
    assert limits.gemm_rate(record) == pytest.approx(100e9)
    assert limits.bandwidths(record) == {2**18: 120e9, 2**20: 90e9, 2**28: 12e9}
    assert limits.bandwidths(made_record(roofline__bandwidth={"1024": 5.0})) == {1024: 5e9}
    # Small sets may be slow: what it takes to start weighs on them.
    uneven = made_record(roofline__bandwidth={"1024": 5.0, "2048": 9.0, "4096": 7.0, "8192": 6.0})
    assert limits.bandwidths(uneven) == {2048: 9e9, 4096: 7e9, 8192: 6e9}
    text = plain(limits.roofs_words(record))
    assert "does 100 billion floating-point operations a second (GFLOP/s)" in text
    assert "moves 120 GB/s over 256 KiB, 90 GB/s over 1 MiB and 12 GB/s over 256 MiB" in text
    assert "Starting an operation costs 2.0 µs" in text
    assert "Starting" not in limits.roofs_words(made_record(without=("roofline.dispatch_seconds",)))


def test_words_on_a_step_follow_its_numbers() -> None:
    adapter, linear = plain(limits.step_reading(made_record())).splitlines()
    assert "a step takes 10.0 ms, of which matrix products 62 %" in adapter
    assert "By limit: arithmetic 62 %, memory 30 % and starting it 8 %." in adapter
    # 5 + 1 + 1 + .2 of 10 ms; the products are 1.25 ms above their roof, the optimiser .6.
    assert "would take 72 % of its time" in adapter
    assert "most is to be won in matrix products, 1.3 ms a step, at 80 % of the roof" in adapter
    assert "every class that has a roof reaches at least 75 % of it" in linear


def test_the_step_table_leaves_the_rest_without_a_roof() -> None:
    table = limits.step_table(made_record())
    assert list(table["Heads"][:2]) == ["Adapter heads, D = 192", ""]
    assert plain(table["Of its roof"][2]) == "62 %"
    assert table["Of its roof"][4] == ""
    assert list(table["No."]) == ["1", "2", "3", "4", "5", "1", "3", "4", "5"]


def test_what_has_no_roof_is_left_out_of_the_roofline_and_said() -> None:
    text = limits.step_words(made_record(), "fig-x")
    assert text.startswith(
        "{numref}`fig-x` draws the operations of a step of 10 heads and batches of 128, but"
    )
    assert text.endswith("without a roof of their own: the rest.")  # gathers have one in the linear head


def test_starts_of_operations_are_counted() -> None:
    text = plain(limits.dispatch_reading(made_record()))
    # 50 calls of 2 microseconds in 10 ms, and 40 in 1 ms.
    assert "50 in a step of adapter heads, D = 192, 1 % of its time" in text
    assert "40 in a step of linear heads, D = 768, 8 % of its time" in text
    assert limits.dispatch_reading(made_record(without=("roofline.dispatch_seconds",))) == ""


def test_shares_of_the_rate_and_widths_of_banks() -> None:
    text = plain(limits.gemm_words(made_record()))
    assert "adapter heads at D = 192 reach 55 % (50 % if only the products of the equations count)" in text
    assert "linear heads at D = 768 reach 65 %." in text
    assert limits.gemm_words(made_record(without=("heads", "linear"))) == ""
    assert "a bank of 30 is fastest of the widths that were tried (5, 30); one of 5 takes 1.67" in plain(
        limits.bank_width_words(made_record())
    )
    assert limits.bank_width_words(made_record(without=("heads",))) == ""


def test_slopes_on_file_are_used_and_others_fitted() -> None:
    found = scaling.slopes(made_record())
    assert found["R"] == (0.85, 1.0)
    assert found["N"] == pytest.approx((1, 1))
    slope, intercept = scaling.fits(made_record())["N"]
    assert (slope, np.exp(intercept)) == pytest.approx((1, 1e-4))
    assert np.isnan(scaling.fitted(scaling.curve_frame(made_record()).iloc[:1])[0])


def test_words_on_growth_follow_the_slopes() -> None:
    runs, samples, features, classes = plain(scaling.scaling_reading(made_record())).splitlines()
    assert "**Runs**: from 1 to 100, an epoch of the bank goes from 20.0 ms to 1.0 s, slope 0.85" in runs
    assert runs.endswith("at the end in proportion to the runs.")
    assert samples.endswith("1.00 over the larger half: in proportion to the samples.")
    assert "faster than in proportion to the features" in features
    assert "more slowly than in proportion to the classes" in classes
    assert scaling.axis_titles(made_record())["R"] == "Runs, R"


def test_the_setting_of_curves_and_memory() -> None:
    text = plain(scaling.others_words(made_record()))
    assert text == ("Adapter heads, batch 128; where it is not varied, R = 10, N = 4,000, D = 192, K = 7.")
    assert (
        plain(scaling.memory_words(made_record())) == "Adapter heads, batch 128, N = 4,000, D = 192, K = 7."
    )
    assert scaling.others_words(made_record(scaling__setting={})) == "Adapter heads."


def test_memory_is_split_into_what_a_head_must_have() -> None:
    # An adapter of D = 192 has 2 x 192 x 64 + 7 x 192 + 7 parameters of 16 bytes; labels have 8 a sample.
    adam, labels = scaling.parts_of_a_head(made_record()).values()
    assert (adam, labels) == (16 * 25927, 32000)
    text = plain(scaling.memory_reading(made_record()))
    assert "Each head adds 1 MiB to 20 MiB that no head changes." in text
    assert "parameters, gradient and both moments of Adam 405 KiB and observed labels 31.2 KiB" in text
    assert "together 43 % of that" in text
    assert "A bank of 1,000 such heads would take about 0.996 GiB" in text
    small = {**made_record().get("scaling.memory"), "bytes_per_head": 1e5, "fixed_bytes": -5.0}
    text = plain(scaling.memory_reading(made_record(scaling__memory=small)))
    assert "to 0 B that no head changes" in text
    assert "is trained in parts" in text
    assert scaling.parts_of_a_head(made_record(scaling__setting={})) == {}


def test_words_on_processes_and_workers() -> None:
    text = plain(engine.engine_reading(made_record()))
    assert "A study in two processes is 1.80 times as fast as in one." in text
    assert "With two Dask workers it is 1.75 times as fast as with one." in text
    assert "rows costs 20.0 ms" in text
    assert "1 chunk was computed again, and the study ended 2.0 s later" in text
    none = made_record(engine__killed_worker={"chunks_repeated": 0})
    assert "no chunk was computed again." in engine.engine_reading(none)
    absent = plain(engine.engine_reading(made_record(without=("engine",))))
    assert absent.startswith("Two processes that train a bank each do 1.90 times the work of one. Studies")
    assert "--no-heads --engine` does it" in absent


def test_words_on_the_archive() -> None:
    text = plain(engine.archive_reading(made_record()))
    assert (
        "estimated to take **65.0 min** in 2 processes, 2.0 h in one (standard error of the sample 10.0 min)."
        in text
    )
    assert "beside others took 1.08 times as long" in text
    assert "DivideMix takes most of it, 75 %" in text
    assert "The archive on file took 79.0 min in 2 processes, with 2.6 h of processor time" in text
    table = engine.archive_table(made_record())
    assert [plain(cell) for cell in table.iloc[0]] == ["DivideMix", "3.0 s", "75 %"]
    assert "has not been measured" in engine.archive_reading(made_record(without=("archive",)))


def test_number_formats_and_features_on_disk() -> None:
    table = engine.precision_table(made_record())
    assert [plain(cell) for cell in table.iloc[0]] == ["`bfloat16, adapter D=192`", "1.60 times"]
    effect = engine.precision_effect(made_record())
    assert effect.iloc[0].tolist() == ["Cross entropy", 12, "-0.12", "2.34", "5.00"]
    assert engine.precision_effect(made_record(without=("precision",))).empty
    text = plain(engine.mapped_reading(made_record()))
    assert (
        "1.20 times as long for adapter heads, 1.90 times as long for linear heads: at most 90 % slower"
        in text
    )
    assert "no slower" in engine.mapped_reading(made_record(mapped__slowdown={"linear": 0.99}))
    assert "have not been measured" in engine.mapped_reading(made_record(without=("mapped",)))


@pytest.mark.parametrize("part", ALL)
def test_no_part_is_needed(part: str) -> None:
    record = made_record(without=(part,))
    for say in (words.in_short, words.not_measured, words.aims_table, words.speed_frame, words.sklearn_words):
        say(record)
    for say in (limits.gemm_words, limits.bank_width_words):
        say(record)
    for say in (engine.engine_reading, engine.archive_reading, engine.mapped_reading):
        assert say(record)
