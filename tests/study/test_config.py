"""Study files: strict reading, and run ids that change exactly when a result could."""

from __future__ import annotations

from dataclasses import replace

import pytest

from noisylib.errors import ConfigError, NoisylibError, UnknownNameError
from noisylib.study.config import MethodSpec, load_config, parse_config

GOOD = {
    "name": "t",
    "datasets": ["digits"],
    "backbones": ["raw"],
    "noise_types": ["symmetric", "asymmetric"],
    "noise_rates": [0, 0.4],
    "methods": ["ce", {"name": "elr", "lam": 1, "label": "elr-weak"}],
    "seeds": [0, 1, 2],
}


def test_grid_is_the_full_product() -> None:
    config = parse_config(
        {**GOOD, "heads": ["linear", "adapter"], "recipe": {"epochs": 12, "score_epochs": 3}}
    )
    runs = config.runs()
    assert len(runs) == len(set(runs)) == 1 * 1 * 2 * 2 * 2 * 2 * 3
    assert config.methods[1] == MethodSpec("elr", (("lam", 1),), "elr-weak")
    assert runs[0].recipe.epochs == 12
    assert all(run.seed_noise == run.seed_train for run in runs)


def test_methods_without_a_head_run_once_for_all_heads() -> None:
    runs = parse_config({**GOOD, "methods": ["ce", "wann"], "heads": ["linear", "adapter"]}).runs()
    heads = [run.head for run in runs if run.method.name == "wann"]
    assert heads == ["none"] * (2 * 2 * 3)
    assert len(runs) == 3 * len(heads)


def test_shipped_studies(root) -> None:
    assert len(load_config(root / "configs" / "smoke.yaml").runs()) == 2 * 2 * 2 * 8 * 2
    assert len(load_config(root / "configs" / "embedded.yaml").runs()) == 5 * 2 * 3 * 8 * 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"datsets": ["digits"]}, UnknownNameError, "Did you mean 'datasets'"),
        ({"methods": ["elf"]}, UnknownNameError, "Did you mean 'elr'"),
        ({"methods": [{"name": "elr", "lamb": 1}]}, UnknownNameError, "Did you mean 'lam'"),
        ({"methods": [{"name": "elr", "lam": 1}]}, ConfigError, "label of its own"),
        ({"methods": ["ce", {"name": "gce", "label": "ce"}]}, ConfigError, "labels"),
        ({"methods": [3]}, ConfigError, "methods entry 3"),
        ({"methods": ["ce", {"name": "ce", "label": "ce2"}]}, ConfigError, "same rule under two labels"),
        ({"methods": [{"name": "elr", "lam": 1, "label": "elr/weak"}]}, ConfigError, "part of a file name"),
        ({"methods": [{"name": "elr", "lam": 1, "label": 3}]}, ConfigError, "label=3"),
        ({"name": "../x"}, ConfigError, "part of a file name"),
        ({"heads": ["mpl"]}, UnknownNameError, "Did you mean 'mlp'"),
        ({"heads": ["linear", "mlp"], "methods": ["turn"]}, NoisylibError, "head='mlp' does not fit"),
        ({"noise_types": ["symetric"]}, UnknownNameError, "Did you mean 'symmetric'"),
        ({"noise_types": ["human"]}, ConfigError, "no rate to sweep"),
        ({"noise_types": ["instance"]}, ConfigError, "reference_backbone"),
        ({"noise_rates": [0.5]}, NoisylibError, "asymmetric noise with K=10"),
        ({"noise_rates": ["0.4"]}, ConfigError, "float is needed"),
        ({"noise_rates": 0.4}, ConfigError, "a list is needed"),
        ({"seeds": [1.5]}, ConfigError, "int is needed"),
        ({"seeds": [True]}, ConfigError, "int is needed"),
        ({"seeds": [1, 1]}, ConfigError, "none twice"),
        ({"seeds": []}, ConfigError, "at least one value"),
        ({"class_map": "cyclical"}, NoisylibError, "cyclical"),
        ({"recipe": {"epoch": 3}}, UnknownNameError, "Did you mean 'epochs'"),
        ({"recipe": {"epochs": "many"}}, NoisylibError, "epochs='many'"),
        ({"recipe": 3}, ConfigError, "a mapping is needed"),
        ({"recipe": {"learning_rate": "1e-3"}}, NoisylibError, "write 0.001"),
        ({"recipe": {"decay_at": 0.5}}, NoisylibError, "a list of fractions"),
        ({"recipe": {"decay_at": ["a"]}}, NoisylibError, "a list of fractions"),
        ({"recipe": {"width": "64"}}, NoisylibError, "width='64'"),
        ({"recipe": {"width": -3}}, NoisylibError, "width=-3"),
        ({"recipe": {"standardise": "maybe"}}, NoisylibError, "standardise='maybe'"),
    ],
)
def test_bad_keys_and_values_are_named(change: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        parse_config({**GOOD, **change})


def test_a_missing_key_and_a_missing_file_are_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="lacks seeds"):
        parse_config({key: value for key, value in GOOD.items() if key != "seeds"})
    (tmp_path / "other.yaml").write_text("name: x")
    with pytest.raises(ConfigError, match=r"no study at .*Studies in .*other.yaml"):
        load_config(tmp_path / "mine.yaml")
    (tmp_path / "broken.yaml").write_text("name: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "broken.yaml")
    with pytest.raises(ConfigError, match=r"other.yaml: the study lacks"):
        load_config(tmp_path / "other.yaml")


def test_run_id_changes_with_every_cause_and_with_nothing_else() -> None:
    run = parse_config(GOOD).runs()[0]
    base = run.run_id("bank")
    assert base == run.run_id("bank")
    causes = [
        replace(run, dataset="breast_cancer"),
        replace(run, backbone="other"),
        replace(run, noise_type="pairflip"),
        replace(run, noise_rate=0.41),
        replace(run, method=MethodSpec("elr", (), "elr")),
        replace(run, method=MethodSpec("elr", (("lam", 1.0),), "elr")),
        replace(run, method=MethodSpec("elr", (("lam", 2.0),), "elr")),
        replace(run, head="linear"),
        replace(run, seed_noise=9),
        replace(run, seed_train=9),
        replace(run, recipe=replace(run.recipe, batch_size=32)),
    ]
    ids = [cause.run_id("bank") for cause in causes] + [run.run_id("another bank"), base]
    assert len(set(ids)) == len(ids)
    assert replace(run, method=replace(run.method, label="another name")).run_id("bank") == base
    assert run.noise_type == "symmetric"
    assert replace(run, class_map="cyclic").run_id("bank") == base
    assert replace(run, reference_backbone="other").run_id("bank", "reference") == base
    instance = replace(run, noise_type="instance", reference_backbone="reference")
    ids = {
        instance.run_id("bank", "checksum"),
        instance.run_id("bank", "another checksum"),
        replace(instance, reference_backbone="other").run_id("bank", "checksum"),
    }
    assert len(ids) == 3


def test_precision_changes_ids_only_where_it_is_not_single() -> None:
    """Ids and digests of studies from before there was a choice stay what they were."""
    single = parse_config(GOOD)
    assert "precision" not in single.plain()
    assert (single.runs()[0].run_id("bank"), single.digest) == ("1d8e222656cd6398", "ff61c9405353806b")
    assert parse_config(GOOD | {"precision": "float32"}) == single
    low = parse_config(GOOD | {"precision": "bfloat16"})
    assert low.plain() == single.plain() | {"precision": "bfloat16"}
    assert low.digest != single.digest
    ids = {run.run_id("bank") for config in (single, low) for run in config.runs()}
    assert len(ids) == 2 * len(single.runs())
    with pytest.raises(NoisylibError, match=r"precision.*bfloat17"):
        parse_config(GOOD | {"precision": "bfloat17"})


def test_precision_is_no_cause_of_a_vote() -> None:
    voting = GOOD | {"methods": ["knn"]}
    both = (parse_config(voting), parse_config(voting | {"precision": "bfloat16"}))
    assert both[0].runs() == both[1].runs()


def test_digest_ignores_the_description_only() -> None:
    config = parse_config(GOOD)
    assert replace(config, description="words").digest == config.digest
    assert replace(config, seeds=(0, 1)).digest != config.digest
