"""A study of fine-tuning end to end in miniature: its tasks, rows, resumption and what changes an id."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tinyfinetune
from tinyfinetune import compute, made, planned

from noisylib.errors import ConfigError, NoisylibError
from noisylib.finetuning.loop import finetune
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.noise import inject
from noisylib.recipe import Recipe
from noisylib.study import finetune_movement, finetune_runs
from noisylib.study.experiment_runner import collect_experiment
from noisylib.study.experiment_tables import load_table
from noisylib.study.finetune_config import load_finetune_config
from noisylib.study.finetune_source import frozen_features, opened
from noisylib.study.finetune_tasks import jobs_of
from noisylib.training import train_bank

TIMES = ["seconds", "cpu_seconds", "seconds_features", "seconds_probe", "seconds_cleaning"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The whole study: results folder, configuration, source and tables."""
    results = tmp_path_factory.mktemp("finetune")
    config, source = made(results / "work")
    plan = compute(results, config, source)
    written = collect_experiment(plan, results)
    return results, config, source, {path.stem: load_table(path) for path in written}


def test_tasks_go_seed_by_seed_after_the_probes() -> None:
    names = [job.name for job in jobs_of(tinyfinetune.study())]
    assert names == [
        "breastmnist-deit_tiny-LP-CE",
        "breastmnist-deit_tiny-symmetric-0.2-seed0-FFT-CE",
        "breastmnist-deit_tiny-symmetric-0.2-seed0-TURN",
        "breastmnist-deit_tiny-instance-0.4-seed0-FFT-CE",
        "breastmnist-deit_tiny-instance-0.4-seed0-TURN",
        "breastmnist-deit_tiny-symmetric-0.2-seed1-FFT-CE",
        "breastmnist-deit_tiny-symmetric-0.2-seed1-TURN",
        "breastmnist-deit_tiny-instance-0.4-seed1-FFT-CE",
        "breastmnist-deit_tiny-instance-0.4-seed1-TURN",
    ]
    assert [job.name for job in jobs_of(tinyfinetune.study(), ["*-seed1-TURN"])] == [names[6], names[8]]
    with pytest.raises(ConfigError, match="no task is called so; names are like breastmnist-deit_tiny-LP-CE"):
        jobs_of(tinyfinetune.study(), ["pbc*"])


def test_the_small_study_is_as_large_as_planned(root) -> None:
    jobs = jobs_of(load_finetune_config(root / "configs/turn_small.yaml"))
    assert (len(jobs), sum(job.is_probe for job in jobs)) == (301, 25)
    seeds = [job.seed for job in jobs if not job.is_probe]
    assert seeds == sorted(seeds)


def test_every_run_has_its_rows_in_every_table_that_is_about_it(done) -> None:
    _, _, _, tables = done
    assert list(tables) == [f"tune_miniature{part}" for part in ("", "_cleaning", "_movement", "_map")]
    main, cleaning, movement, points = (rows for rows, _ in tables.values())
    run = ["noise_type", "noise_rate", "label"]
    conditions = [("symmetric", 0.2), ("instance", 0.4)]
    assert main[run].apply(tuple, axis=1).tolist() == [
        *((*condition, "LP-CE") for condition in conditions),  # the first seed is left of two
        *((*condition, label) for condition in conditions for label in ("FFT-CE", "TURN")),
    ]
    assert set(main["tuning"]) == {"lp", "fft", "turn"}
    assert (main["n_train"].unique(), main["n_test"].unique()) == (48, 24)
    assert set(cleaning["label"]) == {"TURN"}
    assert cleaning.groupby(run).size().tolist() == [2 * 5] * 2  # epochs x thresholds
    assert movement.groupby(run).size().tolist() == [3] * 4  # two blocks and the feature
    last = movement[movement["last"]]
    assert last["block"].unique() == [2]
    assert last[["probe_before", "probe_after", "probe_noisy_after"]].notna().all(axis=None)
    assert movement[~movement["last"]]["probe_after"].isna().all()
    assert (movement["relative_change"] > 0).all()
    assert set(points["noise_type"]) == {"symmetric"}
    assert points.groupby(["label", "stage"]).size().to_dict() == {
        (label, stage): 24 for label in ("FFT-CE", "TURN") for stage in ("before", "after FFT")
    }


def test_costs_are_those_of_the_parts(done) -> None:
    main = done[3]["tune_miniature"][0].set_index(["noise_type", "label"]).sort_index()
    lp, fft, turn = (main.loc["symmetric", label] for label in ("LP-CE", "FFT-CE", "TURN"))
    # A patch embedding, two blocks on 17 tokens of width 24 with an MLP four times as wide, two classes.
    T, D, K, N = 17, 24, 2, 48
    forward = 2 * 16 * (3 * 64) * D + 2 * (2 * T * D * (3 * D + D + 8 * D) + 4 * T * T * D)
    head = 2 * D * K
    assert fft["flops"] == 3 * (forward + head) * 2 * N
    cleaning = (forward + head) * N  # of the second epoch; the first is cleaned by features
    probe = head * N * (3 * 20 + 1)
    assert turn["flops"] == 3 * (forward + head) * turn["images_seen"] + forward * N + probe + cleaning
    assert forward * N < lp["flops"] < 1.1 * forward * N
    assert (fft["steps"], fft["images_seen"]) == (2 * 2, 2 * N)
    assert (lp["steps"], lp["images_seen"], lp["parameters"]) == (2, 2 * N, D * K + K)
    drawn = done[3]["tune_miniature_cleaning"][0]
    drawn = drawn[(drawn["noise_type"] == "symmetric") & (drawn["tau"] == 0.6)]["drawn"]
    assert turn["images_seen"] == drawn.sum()
    assert fft["seconds_features"] == fft["seconds_cleaning"] == 0
    assert min(turn["seconds_features"], turn["seconds_probe"], turn["seconds_cleaning"], lp["seconds"]) > 0
    assert turn["seconds"] > turn["seconds_probe"] + turn["seconds_cleaning"]
    assert [len(fft[name]) for name in ("epoch_loss", "epoch_agreement", "epoch_gradient_norm")] == [2] * 3


def test_a_probe_is_that_of_train_bank_and_a_tuning_that_of_finetune(done) -> None:
    _, config, source, tables = done
    main = tables["tune_miniature"][0].set_index(["noise_type", "label"]).sort_index()
    now = opened(source, "breastmnist", "deit_tiny")
    pixels, train, test = now.pixels, now.pixels.rows("train"), now.pixels.rows("test")
    y_test = pixels.labels[test]
    noise = inject(pixels.labels[train], "symmetric", 0.2, n_classes=2, seed=0, dataset="breastmnist")
    frozen = frozen_features(source, "breastmnist", "deit_tiny", config.finetune.precision)
    bank = train_bank(
        frozen.train, noise.y_noisy, frozen.test, y_test, n_classes=2, head="linear", seeds=[0], device="cpu",
        recipe=Recipe(epochs=2, score_epochs=1, batch_size=64),
    )  # fmt: skip
    row = main.loc["symmetric", "LP-CE"]
    assert row["accuracy"] == bank.accuracy[0]
    agreed = train_bank(
        frozen.train, noise.y_noisy, frozen.train, noise.y_noisy, n_classes=2, head="linear", seeds=[0],
        device="cpu", recipe=Recipe(epochs=2, score_epochs=1, batch_size=64),
    ).accuracy[0]  # fmt: skip
    assert row["train_accuracy_noisy"] == agreed != row["accuracy"]
    assert row["realised_rate"] == noise.realised_rate
    tuned = finetune(
        pixels, train, noise.y_noisy, now.backbone, n_classes=2, method="ce", seed=0, device="cpu",
        recipe=FinetuneRecipe(epochs=2, batch_size=32),
    )  # fmt: skip
    row = main.loc["symmetric", "FFT-CE"]
    assert row["accuracy"] == (tuned.logits(pixels, test).argmax(1) == y_test).mean()
    predicted = tuned.logits(pixels, train).argmax(1)
    assert row["epoch_loss"].tolist() == [record.loss for record in tuned.history]
    assert row["memorised"] == (predicted == noise.y_noisy)[noise.flipped].mean()


def test_a_study_in_two_sittings_has_the_rows_of_one(done, tmp_path) -> None:
    results, _, _, tables = done
    config, source = made(tmp_path / "work")
    compute(tmp_path, config, source, only=("*LP-CE", "*symmetric-0.2-seed0-TURN"))
    plan = planned(tmp_path, config, source)
    assert len(plan.missing) == 3
    with pytest.raises(
        ConfigError, match=r"3 of 5 tasks .* 'noisylib finetune configs/tune_miniature\.yaml'"
    ):
        collect_experiment(plan, tmp_path)
    compute(tmp_path, config, source, only=("*instance*", "*FFT-CE"))
    assert planned(tmp_path, config, source).missing == []
    for path in collect_experiment(planned(tmp_path, config, source), tmp_path):
        rows, before = load_table(path)[0], tables[path.stem][0]
        there = [name for name in rows if name not in TIMES]
        assert rows[there].equals(before[there])
    assert planned(results, config, source).missing == []  # as a clone of the collected tables sees it


def test_the_provenance_says_what_was_read(done) -> None:
    _, config, source, tables = done
    record = tables["tune_miniature"][1]
    checksum = opened(source, "breastmnist", "deit_tiny").pixels.checksum
    assert record["inputs"]["breastmnist-deit_tiny"]["pixels"] == checksum
    assert record["config"]["finetune"]["epochs"] == config.finetune.epochs
    assert record["skipped_images"] == {}


def test_ids_change_with_what_changes_rows_and_with_nothing_else(tmp_path) -> None:
    config, source = made(tmp_path)

    def ids(**changes) -> dict[str, str]:
        plan = planned(tmp_path, replace(config, **changes), source)
        return {task.name: task_id for task_id, task in plan.tasks.items()}

    before = ids()
    same = lambda after: {name.split("_tiny-")[1] for name in before if after.get(name) == before[name]}  # noqa: E731
    probes = {"LP-CE"}
    tunings = {name.split("_tiny-")[1] for name in before} - probes
    assert same(ids(description="other")) == probes | tunings
    assert same(ids(finetune=replace(config.finetune, lr_head=1e-3))) == probes
    assert same(ids(probe=replace(config.probe, learning_rate=0.1))) == tunings
    assert same(ids(methods=config.methods[:1])) == probes
    assert same(ids(conditions=config.conditions[:1])) == {name for name in tunings if "symmetric" in name}
    assert same(ids(reference_backbone="resnet50")) == {name for name in tunings if "symmetric" in name}
    assert same(ids(maps=())) == probes | {name for name in tunings if "instance" in name}


def test_a_map_shows_some_points_of_the_rows_of_the_paper_only(tmp_path, monkeypatch) -> None:
    config, source = made(
        tmp_path / "work", conditions=["symmetric 0.2"], methods=["fft-gce", "turn"], seeds=[0]
    )
    monkeypatch.setattr(finetune_movement, "MAP_POINTS", 7)
    plan = compute(tmp_path, config, source)
    rows = load_table(next(p for p in collect_experiment(plan, tmp_path) if "_map" in p.name))[0]
    assert set(rows["label"]) == {"TURN"}
    assert rows.groupby("stage")["point"].apply(list).to_dict() == {
        "before": list(range(7)),
        "after FFT": list(range(7)),
    }
    assert rows["true_class"].nunique() == 2


def test_an_error_names_its_task_and_keeps_what_is_done(tmp_path, monkeypatch) -> None:
    config, source = made(tmp_path / "work")
    monkeypatch.setattr(finetune_runs, "movement_rows", _fail)
    with pytest.raises(NoisylibError, match=r"task breastmnist-.*-seed0-FFT-CE: no feature moved"):
        compute(tmp_path, config, source)
    plan = planned(tmp_path, config, source)
    assert [plan.tasks[task_id].name for task_id in plan.tasks if task_id not in plan.missing] == [
        "breastmnist-deit_tiny-LP-CE"
    ]


def _fail(*_: object) -> None:
    raise NoisylibError("no feature moved")


def test_a_long_task_goes_on_from_its_checkpoint(tmp_path, monkeypatch, caplog) -> None:
    config, source = made(tmp_path / "work", methods=["fft-ce"], conditions=["symmetric 0.2"], maps=None)
    plan = planned(tmp_path, config, source)
    (task_id,) = plan.tasks
    runner = replace(plan.experiment.run, checkpoints=True)
    folder = source.work / "checkpoints" / config.name / plan.tasks[task_id].name
    monkeypatch.setattr(finetune_runs, "_report", _stop)
    with pytest.raises(KeyboardInterrupt):
        runner(plan.tasks[task_id])
    monkeypatch.undo()
    # The first epoch was not yet kept when it was stopped; what the loop keeps within it is its own business.
    caplog.set_level("INFO")
    rows = runner(plan.tasks[task_id])
    assert "epoch 2 of 2, loss" in caplog.text
    assert not folder.exists()
    plain = plan.experiment.run(plan.tasks[task_id])
    assert rows[config.name][0]["epoch_loss"] == plain[config.name][0]["epoch_loss"]


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_only_long_tasks_keep_checkpoints_unless_told(tmp_path, monkeypatch) -> None:
    config, source = made(tmp_path / "work", methods=["fft-ce"], conditions=["symmetric 0.2"], maps=None)
    plan = planned(tmp_path, config, source)
    task, run = next(iter(plan.tasks.values())), plan.experiment.run
    frozen = frozen_features(source, "breastmnist", "deit_tiny", config.finetune.precision)

    def kept(checkpoints: bool | None, seconds: float) -> bool:
        slow = replace(frozen, seconds=seconds)
        return replace(run, checkpoints=checkpoints)._checkpoint(task, slow, 48, 24) is not None

    # 72 images were extracted, 2 x 48 are trained on, each at 3.5 forward passes: 600 s are those of 128.6 s.
    assert [kept(None, s) for s in (128, 129)] == [False, True]
    assert kept(True, 0.1)
    assert not kept(False, 1e6)
    np.testing.assert_equal(frozen.train.shape, (48, 24))
