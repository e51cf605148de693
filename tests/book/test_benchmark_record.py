"""Records of the benchmarks as chapters read them: where they lie, what may be absent, what is refused."""

from __future__ import annotations

import json

import pytest
from made_benchmarks import MACHINE, made_record, made_values

from noisylib.book import benchmark_record as records
from noisylib.book.chapters import CHAPTERS
from noisylib.book.performance_parameters import PerformanceParameters
from noisylib.errors import MissingDataError, NoisylibError, UnknownNameError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of records that is read in place of the shipped one."""
    monkeypatch.setenv("NOISYLIB_BENCHMARKS", str(tmp_path))
    return tmp_path


def test_the_shipped_record_of_a_processor_is_read(root) -> None:
    assert records.benchmark_files("cpu")[0] == root / "benchmarks" / "results" / "cpu.json"
    assert records.read_record("cpu").get("heads.speedup_tight") > 1


def test_the_page_reads_every_record_that_is_there(folder) -> None:
    reads = CHAPTERS["performance"].reads
    with pytest.raises(MissingDataError, match="python -m benchmarks --device cpu"):
        reads(PerformanceParameters())
    (folder / "cpu.json").write_text(json.dumps(made_values()))
    assert [path.name for path in reads(PerformanceParameters())] == ["cpu.json"]
    assert records.other_record("cpu") is None
    (folder / "cuda.json").write_text(json.dumps(made_values(without=("engine",))))
    assert [path.name for path in reads(PerformanceParameters(record="cuda"))] == ["cuda.json", "cpu.json"]
    assert records.other_record("cpu").device == "cuda"
    with pytest.raises(UnknownNameError, match="record='gpu'"):
        records.benchmark_files("gpu")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"measured": {"heads": {}}}', '{"measured": [1]}'])
def test_what_is_no_record_is_refused(folder, text: str) -> None:
    (folder / "cpu.json").write_text(text)
    with pytest.raises(NoisylibError, match="is not a record of the benchmarks: move it away"):
        records.read_record("cpu")


def test_values_may_be_absent() -> None:
    record = made_record(without=("engine", "linear.speedup_sklearn"))
    assert record.get("engine.killed_worker/chunks_repeated") is None
    assert record.get("engine.seconds", {}) == {}
    assert made_record().get("engine.killed_worker/chunks_repeated") == 1
    assert made_record().get("heads.speedup_tight/entry") is None  # a number has no entries
    assert not record.has("linear.speedup_sklearn")
    assert record.has("linear.speedup_tight", "heads.gemm_fraction")
    assert not made_record(precision__speedup={}).has("precision.speedup")
    assert "engine" not in record.parts


def test_what_is_absent_is_said_with_the_command_that_measures_it() -> None:
    record = made_record()
    assert record.absent("Curves have", "scaling") == (
        "Curves have not been measured on a processor yet; `python -m benchmarks --device cpu --no-heads "
        "--scaling` does it."
    )
    assert "`python -m benchmarks --device cpu --linear`" in record.absent("Both have", "heads", "linear")
    assert "on a GPU yet" in made_record(device="cuda").absent("It has", "heads")


def test_a_caption_names_machine_and_day_once() -> None:
    record = made_record()
    record.values["measured"]["linear"]["date"] = "2026-01-03"
    text = records.source(record, "heads", "linear", "extraction", "unknown")
    assert text == "Measured on Made EPYC (2 cores) with torch 2.15.0, 2026-01-02 and 2026-01-03."
    record.values["measured"]["engine"]["machine"] = {**MACHINE, "gpu": "Made GPU"}
    text = records.source(record, "heads", "engine")
    assert text.endswith("(2 cores) with torch 2.15.0, 2026-01-02; Made GPU with torch 2.15.0, 2026-01-02.")
    assert records.source(record, "unknown") == "Nothing of this has been measured."


def test_a_trial_run_is_not_passed_off_as_a_measurement() -> None:
    record = made_record()
    record.values["measured"]["scaling"]["quick"] = True
    assert "sizes of scaling are those of a trial run" in records.source(record, "scaling", "heads")
    assert "trial" not in records.source(record, "heads")
