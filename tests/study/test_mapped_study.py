"""A study on a bank that stays on disk has the rows of one in memory."""

from __future__ import annotations

import pytest
from blobs import blobs
from pandas.testing import assert_frame_equal

from noisylib import samples
from noisylib.features.bank import BankMeta, FeatureBank
from noisylib.study import collect, plan_study, run_study
from noisylib.study.config import parse_config
from noisylib.study.inputs import provided

CONFIG = parse_config(
    {
        "name": "mine",
        "datasets": ["mine"],
        "backbones": ["own"],
        "noise_types": ["symmetric", "instance"],
        "reference_backbone": "own",
        "noise_rates": [0.3],
        "methods": ["ce", "dividemix"],
        "seeds": [0, 1],
        "recipe": {"epochs": 3, "score_epochs": 2, "width": 4, "batch_size": 32},
    }
)


@pytest.mark.parametrize("shard_rows", [None, 50])
def test_rows_of_a_mapped_bank_are_those_of_the_bank(tmp_path, monkeypatch, shard_rows) -> None:
    X, y = blobs(180, 3, 5)
    split = [0] * 150 + [2] * 30
    path = tmp_path / "mine-own.safetensors"
    FeatureBank.from_arrays(X, y, split, ["a", "b", "c"], BankMeta("mine", "own")).save(path)
    run_study(plan_study(CONFIG, tmp_path / "plain", banks=tmp_path), tmp_path / "plain", banks=tmp_path)
    expected = collect(CONFIG, tmp_path / "plain", banks=tmp_path)

    FeatureBank.load(path).save(path, shard_rows)
    monkeypatch.setattr(samples, "SMALL", 0)
    monkeypatch.setattr(samples, "free_memory", lambda: 4000)
    made = []
    seen = samples.MappedSamples.__init__
    monkeypatch.setattr(samples.MappedSamples, "__init__", lambda *a: (made.append(a[1]), seen(*a))[1])
    with provided({("mine", "own"): FeatureBank.load(path, mapped=True)}):
        run_study(plan_study(CONFIG, tmp_path / "there", banks=tmp_path), tmp_path / "there", banks=tmp_path)
    rows = collect(CONFIG, tmp_path / "there", banks=tmp_path)
    assert len(made) == 2, "both chunks read batches"
    assert_frame_equal(rows.drop(columns="seconds"), expected.drop(columns="seconds"))
