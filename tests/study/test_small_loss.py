"""The small-loss experiment on a table of scikit-learn: which runs, which labels, which rows."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import lru_cache
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tinystudy

from noisylib.features.bank import load_bank
from noisylib.noise import inject
from noisylib.recipe import Recipe
from noisylib.study import small_loss
from noisylib.study.experiment_runner import collect_experiment, run_experiment
from noisylib.study.experiment_tables import load_table
from noisylib.study.experiments import Task, plan_experiment
from noisylib.study.inputs import noise_of
from noisylib.study.small_loss import EXPERIMENT, Condition, cost, run_specs, tasks

SHORT = Recipe(epochs=3, score_epochs=1, width=4)
SEEDS, RATES, TYPES = (0, 3), (0.2, 0.4), ("symmetric", "asymmetric")
RUNS = len(SEEDS) * len(RATES) * len(TYPES)
OF_A_RUN = ["head", "noise_type", "noise_rate", "seed"]


def small(head: str) -> Task:
    return Task(f"small-{head}", "breast_cancer", "raw", Condition(head, seeds=SEEDS, draws=10, recipe=SHORT))


SMALL = replace(EXPERIMENT, tasks=lambda: [small("linear"), small("adapter")])


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, pd.DataFrame]:
    """Collected tables of a linear and an adapter task."""
    folder = tmp_path_factory.mktemp("results")
    plan = plan_experiment(SMALL, folder)
    run_experiment(plan, folder)
    return {path.stem: load_table(path)[0] for path in collect_experiment(plan, folder)}


@lru_cache
def drawn(noise_type: str, rate: float, seed: int):
    """The label noise of a run, drawn without any study."""
    y = load_bank("breast_cancer", "raw").part("train")[1]
    return inject(y, noise_type, rate, n_classes=2, seed=seed, dataset="breast_cancer", class_map={0: 1})


def test_the_conditions_are_five_sets_three_backbones_and_three_heads() -> None:
    every = tasks()
    assert len(every) == 35  # 5 sets x 3 backbones x 2 heads, and 5 sets with the third head
    assert len({(task.dataset, task.backbone, task.condition.head) for task in every}) == 35
    assert {len({getattr(t, key) for t in every}) for key in ("dataset", "backbone")} == {5, 3}
    (shared,) = {replace(task.condition, head="") for task in every if task.condition.head != "mlp"}
    assert len(shared.noise_types) * len(shared.noise_rates) * len(shared.seeds) == 20
    assert {(t.backbone, t.condition) for t in every if t.condition.head == "mlp"} == {
        ("deit_tiny", replace(shared, head="mlp", seeds=(0, 1, 2)))
    }
    assert asdict(shared.recipe) == asdict(Recipe())


def test_labels_are_those_of_a_study() -> None:
    mine = run_specs(replace(small("adapter"), condition=Condition("adapter", seeds=(0, 1))))
    study = replace(tinystudy.CONFIG, noise_rates=(0.2, 0.4)).runs()
    bank = load_bank("breast_cancer", "raw")
    theirs = {(s.noise_type, s.noise_rate, s.seed_noise): n
              for s, n in zip(study, noise_of(study, bank, "", None), strict=True)}  # fmt: skip
    assert len(mine) == len(theirs) == 8
    for spec, noise in zip(mine, noise_of(mine, bank, "", None), strict=True):
        of_study = theirs[spec.noise_type, spec.noise_rate, spec.seed_noise]
        np.testing.assert_array_equal(noise.y_noisy, of_study.y_noisy)
        assert spec.seed_train == spec.seed_noise


def test_every_run_has_its_rows(tables) -> None:
    overlap, detection = tables["overlap"], tables["detection"]
    # Four estimators of the loss in training and of that out of fold, one of the best epoch.
    assert set(overlap.groupby(OF_A_RUN).size()) == {9}
    # Two sets have one row and rankings two; Co-teaching comes with the adapter only.
    assert detection.groupby(OF_A_RUN).size().groupby("head").unique().map(list).to_dict() == {
        "adapter": [24], "linear": [22]
    }  # fmt: skip
    assert set(detection.loc[detection["detector"] == "peer_loss", "head"]) == {"adapter"}
    for rows in (overlap, detection):
        assert rows.groupby(OF_A_RUN).ngroups == 2 * RUNS
        assert set(rows["dataset"]) == {"breast_cancer"}
        assert set(rows["backbone"]) == {"raw"}
        assert set(rows["seed"]) == set(SEEDS)


def test_rows_say_which_noise_they_are_of(tables) -> None:
    for rows in tables.values():
        for (noise_type, rate, seed), part in rows.groupby(["noise_type", "noise_rate", "seed"]):
            noise = drawn(noise_type, rate, seed)
            assert set(part["realised_rate"]) == {noise.realised_rate}
            assert set(part["class_map"]) == {"default" if noise_type == "asymmetric" else ""}
    for (noise_type, rate, seed), part in tables["overlap"].groupby(["noise_type", "noise_rate", "seed"]):
        assert set(part["n_flipped"]) == {drawn(noise_type, rate, seed).flipped.sum()}
    chance = tables["detection"]["chance"]
    np.testing.assert_allclose(chance, 1 - tables["detection"]["realised_rate"], atol=1e-12)


def test_fixed_sizes_are_the_number_of_right_labels(tables) -> None:
    fixed = tables["detection"].query("rule == 'fixed'")
    for row in fixed.itertuples():
        assert row.m == (~drawn(row.noise_type, row.noise_rate, row.seed).flipped).sum()
    np.testing.assert_array_equal(fixed["precision"], fixed["recall"])


def test_overlaps_are_also_told_at_one_size(tables) -> None:
    headline = tables["overlap"]["estimator"] == "histogram"
    assert tables["overlap"].loc[headline, "equal_size"].between(0, 1).all()
    assert tables["overlap"].loc[~headline, "equal_size"].isna().all()


@pytest.mark.parametrize("head", ["mlp", "adapter"])
def test_what_the_signals_are_asked_for(monkeypatch, head) -> None:
    """The common size is the smallest group of all runs; Co-teaching is trained beside the adapter only."""
    seen = {}

    def train(bank, noise, seeds, **more):
        seen.update(more, seeds=seeds)
        return SimpleNamespace(flipped=np.stack([labels.flipped for labels in noise]))

    monkeypatch.setattr(small_loss, "train_signals", train)
    monkeypatch.setattr(small_loss, "overlap_rows", lambda _, **more: seen.update(more) or [])
    monkeypatch.setattr(small_loss, "detection_rows", lambda _: [])
    assert small_loss.run(small(head)) == {"overlap": [], "detection": []}
    flips = [drawn(*run).flipped.sum() for run in product(TYPES, RATES, SEEDS)]
    assert seen == {
        "seeds": [0] * 4 + [3] * 4, "head": head, "recipe": SHORT, "peers": head == "adapter", "folds": 5,
        "device": "cpu", "size": min(flips), "draws": 10,
    }  # fmt: skip


def test_histograms_hold_every_sample(tables) -> None:
    headline = tables["overlap"].query("estimator == 'histogram'")
    for row in headline.itertuples():
        assert (row.clean_counts.sum(), row.flipped_counts.sum()) == (row.n_clean, row.n_flipped)
        assert len(row.edges) == len(row.clean_counts) - 1
        assert len(row.class_overlap) == 2


def test_the_same_task_gives_the_same_rows(tables, tmp_path) -> None:
    plan = plan_experiment(replace(SMALL, tasks=lambda: [small("linear")]), tmp_path)
    run_experiment(plan, tmp_path)
    for path in collect_experiment(plan, tmp_path):
        again, before = load_table(path)[0], tables[path.stem]
        pd.testing.assert_frame_equal(again, before[before["head"] == "linear"].reset_index(drop=True))


def test_more_work_costs_more() -> None:
    """A linear head of 30 features and 2 classes takes 240 operations a sample, each of 5 folds as many."""

    def of(head: str, epochs: int) -> float:
        recipe = Recipe(epochs=epochs, score_epochs=1)
        return cost(Task("x", "breast_cancer", "raw", Condition(head, seeds=SEEDS, recipe=recipe)))

    n = len(load_bank("breast_cancer", "raw").indices("train"))
    assert of("linear", 3) == RUNS * 3 * n * 6 * 240
    assert of("linear", 6) == 2 * of("linear", 3)
    assert min(of("adapter", 3), of("mlp", 3)) > of("linear", 3)
