"""The log of a study: one entry for each time that its engine ran."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from tinystudy import CONFIG

from noisylib.errors import NoisylibError, WriteError
from noisylib.study import plan_study, run_study
from noisylib.study.store import ResultStore


def test_each_session_is_an_entry(tmp_path) -> None:
    plan = plan_study(CONFIG, tmp_path)
    run_study(replace(plan, chunks=plan.chunks[:1]), tmp_path, jobs=5)
    (entry,) = ResultStore(CONFIG, tmp_path).history()
    assert (entry["runs"], entry["jobs"]) == (8, 1)  # no more processes than chunks
    assert entry["seconds"] > 0
    assert entry["began"].endswith("+00:00")
    assert entry["cores"] >= 1
    run_study(plan_study(CONFIG, tmp_path), tmp_path)
    assert len(ResultStore(CONFIG, tmp_path).history()) == 2
    run_study(plan_study(CONFIG, tmp_path), tmp_path)  # nothing to do is nothing to log
    assert len(ResultStore(CONFIG, tmp_path).history()) == 2


def test_an_interrupt_keeps_an_entry_of_what_was_done(tmp_path) -> None:
    def stop(*_) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan_study(CONFIG, tmp_path), tmp_path, on_chunk=stop)
    (entry,) = ResultStore(CONFIG, tmp_path).history()
    assert entry["runs"] == 8
    run_study(plan_study(CONFIG, tmp_path), tmp_path)
    assert [e["runs"] for e in ResultStore(CONFIG, tmp_path).history()] == [8, 8]


def test_a_log_that_cannot_be_written_hides_nothing(tmp_path, monkeypatch, caplog) -> None:
    """What ended the training is what people must read."""

    def refuse(*_, **__) -> None:
        raise WriteError("no space")

    def stop(*_) -> None:
        raise KeyboardInterrupt

    plan = plan_study(CONFIG, tmp_path)
    monkeypatch.setattr(ResultStore, "log", refuse)
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        run_study(plan, tmp_path, on_chunk=stop)
    assert "missing from the log of the study: no space" in caplog.text


@pytest.mark.parametrize("content", ["{", "3", "[1]"])
def test_a_damaged_log_is_said_before_training(tmp_path, content: str) -> None:
    plan_study(CONFIG, tmp_path)
    (tmp_path / "tiny" / "log.json").write_text(content)
    with pytest.raises(NoisylibError, match=r"log.json is not a readable log .* Delete it"):
        plan_study(CONFIG, tmp_path)
