"""The repository's own promises: pins, metadata, commands, contents and citations agree with each other."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import noisylib
from noisylib import cli
from noisylib.analysis.bootstrap import bootstrap_ranks
from noisylib.analysis.cost import cost_curve
from noisylib.analysis.ranking import friedman, rank_table
from noisylib.analysis.scores import condition_scores
from noisylib.analysis.selector_check import selector_regret
from noisylib.book.chapters import CHAPTERS
from noisylib.book.claims import turn_rows
from noisylib.book.claims.published import (
    AGREEMENT_DROP,
    ASYMMETRIC_COST,
    CHI2,
    CLEAN_COST,
    ELR_WINS,
    LOSS_DROP,
    OVERLAP,
)
from noisylib.candidates import CANDIDATES as RECOMMENDED
from noisylib.data import DATASETS
from noisylib.features.backbones import BACKBONES
from noisylib.features.sized import tiny_backbone
from noisylib.methods import METHODS, RANKED
from noisylib.study.archive import load_archive
from noisylib.study.experiment_tables import load_table
from noisylib.study.refit import pools

LOCKED_EXTRAS = ("backbones", "finetuning", "book", "statistics", "cluster", "dev")
HEAVY = [
    *("timm", "open_clip", "medmnist", "papermill", "pandas", "matplotlib"),
    *("torchvision", "sklearn", "PIL", "pyarrow", "joblib", "yaml", "cleanlab"),
    *("baycomp", "statsmodels", "itables", "accelerate", "distributed"),
]


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def lock(root: Path) -> dict[str, list[Requirement]]:
    """The pins of requirements.lock by name; a name has several where a marker tells them apart."""
    pins: dict[str, list[Requirement]] = {}
    for line in (root / "requirements.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def exact(pin: Requirement) -> str:
    """Return the one version a pin allows."""
    (specifier,) = pin.specifier
    assert specifier.operator == "==", f"{pin} is not an exact pin"
    return specifier.version


def test_every_pin_is_exact_and_needs_no_address(lock: dict[str, list[Requirement]]) -> None:
    assert len(lock) > 100
    for pins in lock.values():
        for pin in pins:
            assert pin.url is None
            assert not exact(pin).endswith(".*")
        assert len(pins) == 1 or all(pin.marker for pin in pins), f"{pins[0].name} is pinned twice"


def test_lock_satisfies_every_range_of_pyproject(
    project: dict[str, Any], lock: dict[str, list[Requirement]]
) -> None:
    wanted = list(project["dependencies"])
    for extra in LOCKED_EXTRAS:
        wanted += project["optional-dependencies"][extra]
    for text in wanted:
        need = Requirement(text)
        pins = lock.get(canonicalize_name(need.name), [])
        assert pins, f"{need.name} is not in requirements.lock"
        for pin in pins:
            assert need.specifier.contains(exact(pin)), f"{pin} breaks {need}"


def test_command_of_the_lock_names_the_locked_extras(root: Path) -> None:
    header = [line for line in (root / "requirements.lock").read_text().splitlines() if line.startswith("#")]
    assert tuple(re.findall(r"--extra (\w+)", "\n".join(header))) == LOCKED_EXTRAS
    assert f"{', '.join(LOCKED_EXTRAS[:-1])} and {LOCKED_EXTRAS[-1]}" in header[0]


def test_gpu_packages_are_pinned_for_linux_only(lock: dict[str, list[Requirement]]) -> None:
    gpu = [
        pin for name, pins in lock.items() if name.startswith(("nvidia-", "cuda-", "triton")) for pin in pins
    ]
    assert gpu
    for pin in gpu:
        assert pin.marker is not None, f"{pin} has no marker, so it cannot be installed on macOS"
        mac = {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"}
        assert not pin.marker.evaluate(mac)
        assert pin.marker.evaluate({"sys_platform": "linux", "platform_machine": "x86_64"})


def test_conda_environment_is_the_lock(root: Path, project: dict[str, Any]) -> None:
    environment = yaml.safe_load((root / "environment.yml").read_text())
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock", "-e ."]
    python, *others = plain
    assert others == ["pip"], "versions belong into requirements.lock, where both environments read them"
    name, _, version = python.partition("=")
    assert name == "python"
    assert Requirement(f"python{project['requires-python']}").specifier.contains(version)


def test_commit_hooks_use_the_locked_tools(root: Path, lock: dict[str, list[Requirement]]) -> None:
    (repo,) = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook for hook in repo["hooks"]}
    assert set(hooks) == {"ruff", "ruff-format", "nbstripout", "check-yaml"}
    for hook in ("ruff", "ruff-format", "nbstripout"):
        (pin,) = hooks[hook]["additional_dependencies"]
        tool = Requirement(pin)
        assert exact(tool) == exact(lock[tool.name][0])
    makefile = (root / "Makefile").read_text()
    assert hooks["nbstripout"]["entry"] in makefile, "`make check` and the hook strip different keys"


def test_citation_file(root: Path, project: dict[str, Any]) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert str(citation["version"]) == noisylib.__version__ == project["version"]
    assert citation["license"] == project["license"] == "Apache-2.0"
    assert "Apache License" in (root / "LICENSE").read_text()
    assert all(author.get("name") for author in citation["authors"])


def test_changelog_has_a_section_for_this_version(root: Path) -> None:
    sections = re.findall(r"^## \[(.+?)\]", (root / "CHANGELOG.md").read_text(), flags=re.M)
    assert {"Unreleased", noisylib.__version__} & set(sections)


def test_makefile_has_at_most_eight_targets_and_lists_each(root: Path) -> None:
    text = (root / "Makefile").read_text()
    rules = dict(re.findall(r"^([a-z][a-z-]*):(.*)$", text, flags=re.M))
    assert {"book", "test", "bench"} <= set(rules)
    assert len(rules) <= 8
    help_lines = {target: rule.partition("## ")[2].strip() for target, rule in rules.items()}
    assert all(help_lines.values()), help_lines
    if shutil.which("make") is None:
        return
    shown = subprocess.run(["make"], cwd=root, capture_output=True, text=True, check=True).stdout
    for target, line in help_lines.items():
        assert re.search(rf"make {target} .*{re.escape(line)}", shown), shown


def test_readme_starts_with_the_two_commands(root: Path) -> None:
    readme = (root / "README.md").read_text()
    first_block = readme.split("```")[1]
    assert re.search(r"^make book\b", first_block, flags=re.M)
    assert re.search(r"^make test\b", first_block, flags=re.M)


def test_python_of_the_readme_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quickstart, distrusted, moving, embeddings, own_folder = re.findall(
        r"```python\n(.*?)```", (root / "README.md").read_text(), flags=re.S
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(quickstart, names)
    assert len(names["rows"]) == 12

    random = np.random.default_rng(0)
    doubtful = np.arange(120) % 3
    made = random.normal(size=(120, 5)) + 3 * np.eye(5)[doubtful]
    asked = {"X": made, "y": np.array(["a", "b", "c"])[doubtful], "X_new": made[:7]}
    exec(distrusted, asked)
    assert asked["model"].method_ in RECOMMENDED
    assert asked["model"].predict_proba(made[:7]).shape == (7, 3)

    for i in range(30):  # left half dark or bright
        image = np.full((20, 20, 3), 120, np.uint8)
        image[:, :10] = 200 * (i % 2) + random.integers(0, 40, (20, 10, 3))
        folder = tmp_path / "my_pictures" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    moved = {"tiny_backbone": tiny_backbone}  # in place of weights that would be fetched
    exec(moving.replace('sized_backbone("deit_tiny", 96)', "tiny_backbone()"), moved)
    assert [record.selection is None for record in moved["tuned"].history] == [False] * 5
    assert not (tmp_path / "tuning").exists(), "the checkpoint of a finished training is removed"

    labels = np.arange(60) % 2
    mine = {
        "labels": labels,
        "features": random.normal(size=(60, 4)) + labels[:, None],
        "split": np.arange(60) // 40 * 2,
    }
    exec(embeddings, mine)
    assert (tmp_path / "data/banks/mine-my_model.safetensors").is_file()
    assert set(mine["rows"]["method"]) == {"ce", "elr"}

    # A real run would fetch weights, so the names and arguments are checked only.
    images, extract = own_folder.strip().splitlines()[-2:]
    exec(own_folder.replace(images, "").replace(extract, ""), mine)
    inspect.signature(mine["load_folder"]).bind("my_pictures", name="mine")
    inspect.signature(mine["extract_features"]).bind(None, mine["load_backbone"], out="mine.safetensors")


def test_commands_of_the_prose_parse(root: Path) -> None:
    """Every `noisylib ...` line of a shell block has arguments and options that exist."""
    program = typer.main.get_command(cli.app)
    commands = []
    for page in ("README.md", "CONTRIBUTING.md", "book/intro.md", "book/cluster.md"):
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", (root / page).read_text(), flags=re.S | re.M)
        for _, block in (b for b in blocks if b[0] in ("", "bash", "sh")):
            commands += re.findall(r"^noisylib ([^#\n]*)", block, flags=re.M)
    assert len(commands) >= 6
    for line in commands:
        command, words = program, cli.join_parameters(shlex.split(line))
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context(line, words)


# A module may import from its own layer and those after it. errors, files, seeding, devices and recipe are
# below all of them and are left out.
LAYERS = (
    (
        "cli",
        "cli_engine",
        "cli_embeddings",
        "cli_experiments",
        "cli_finetune",
        "cli_refit",
        "listing",
        "citations",
    ),
    ("book",),
    ("study", "plots", "plotstyle", "comparison"),  # plots stands for every <subject>plots
    ("estimators",),
    ("finetuning",),
    ("recommendation", "recommendation_inputs", "recommendation_text"),
    ("signals", "detectors", "signal_rows", "cross_validation", "trained"),
    ("trained_head", "facts", "label_quality"),
    ("noise_estimate", "noise_rate", "descriptors"),
    ("evidence", "anchors", "confident_joint"),
    ("training", "parts", "samples", "mapped", "recorder", "layout", "validation", "analysis"),
    ("methods", "candidates"),
    (
        "heads",
        "networks",
        "optimiser",
        "precision",
        "noise",
        "instance_noise",
        "mixtures",
        "mixture_em",
        "neighbours",
    ),
    ("confident", "labels", "embedding_files", "embedding_tables", "head_files"),
    ("features", "data.simulate"),  # makes feature banks, not images
    ("data",),
)


def test_imports_point_one_way(root: Path) -> None:
    level = {name: i for i, names in enumerate(LAYERS) for name in names}

    def layer(module: str) -> int:
        package = re.sub(r"^\w+plots$", "plots", module.partition(".")[0])
        return level.get(".".join(module.split(".")[:2]), level.get(package, len(LAYERS)))

    for path in (root / "noisylib").rglob("*.py"):
        own = ".".join(path.relative_to(root / "noisylib").with_suffix("").parts)
        if own == "__init__":
            continue
        for module in re.findall(r"(?:from|import) noisylib\.([\w.]+)", path.read_text()):
            assert layer(module) >= layer(own), f"{own} imports {module}, a layer above it"


def test_speeds_of_the_readme_are_the_measured_ones(root: Path) -> None:
    measured = json.loads((root / "benchmarks/results/cpu.json").read_text())
    readme = (root / "README.md").read_text()
    for row, key, form in (
        ("against a tight loop", "heads.speedup_tight", "{:.1f} x"),
        ("against the usual DataLoader loop", "heads.speedup_dataloader", "{:.1f} x"),
        ("... with two loader processes", "heads.speedup_dataloader_workers", "{:.1f} x"),
        ("against `torch.func` vmap", "heads.speedup_vmap", "{:.1f} x"),
        ("against a ModuleDict", "heads.speedup_moduledict", "{:.1f} x"),
        ("share of the machine's", "heads.gemm_fraction", "{:.0%}"),
        ("two processes against one", "heads.two_process_speedup", "{:.2f} x"),
        ("a study on two Dask workers against one", "engine.speedup_two_dask_workers", "{:.2f} x"),
        ("50 linear heads, D = 768", "linear.gemm_fraction", "{:.0%}"),
        ("... a finished run against scikit-learn", "linear.speedup_sklearn", "{:.1f} x"),
        ("feature extraction", "extraction.fraction_of_forward", "{:.0%}"),
        ("DivideMix, the dearest", "methods.dearest_ranked_per_network_epoch", "{:.1f} x"),
        ("two-component mixtures", "mixtures.speedup", "{:.0f} x"),
        ("TURN, its features and probe included", "tuning.turn_to_fft", "{:.2f} x"),
        ("TURN against a linear probe", "tuning.turn_to_lp", "{:.1f} x"),
        ("full fine-tuning against a linear probe", "tuning.fft_to_lp", "{:.1f} x"),
    ):
        line = next(line for line in readme.splitlines() if line.startswith(f"| {row}"))
        assert form.format(measured[key]).replace("%", " %") in line, line
    phases = measured["tuning.turn_phases"]
    total = sum(phases.values())
    assert phases["probe"] / total < 0.015, "a hundredth"
    assert 0.4 < phases["cleaning"] / total < 0.6, "half"
    assert measured["methods.dearest_ranked"] == "dividemix"
    costs = measured["methods.costs"]
    for name in RANKED:
        row = f"| {METHODS[name].title} | {costs[name]['per_run']:.1f} x |"
        assert row in readme, f"{row} is not in the README"


def test_case_study_of_the_readme_is_that_of_the_tables(root: Path) -> None:
    text = " ".join((root / "README.md").read_text().split())
    overlap, _ = load_table(root / "results/overlap.parquet")
    chosen = {"dataset": "ham10000", "head": "adapter", "sample": "train", "epoch": "last"}
    losses = overlap[(overlap[list(chosen)] == list(chosen.values())).all(axis=1)]
    losses = losses[losses["estimator"] == "histogram"]
    shares = 100 * losses.groupby(["noise_type", "noise_rate"])["corrected"].mean()
    assert (
        f"overlap by {shares['symmetric', 0.2]:.0f} % under 20 % symmetric noise and by "
        f"{shares['asymmetric', 0.4]:.0f} % under 40 % asymmetric noise; the source paper has "
        f"{OVERLAP[0]} to {OVERLAP[1]} %"
    ) in text
    found, made = load_table(root / "results/detection.parquet")
    minutes = made["wall_seconds"] / 60
    chosen = {"dataset": "ham10000", "head": "adapter", "rule": "matched", "noise_rate": 0.4}
    found = found[(found[list(chosen)] == list(chosen.values())).all(axis=1)]
    kept = 100 * found.groupby(["detector", "noise_type"])["precision"].mean().unstack()
    drop = kept["symmetric"] - kept["asymmetric"]
    assert (
        f"loses {drop['agreement']:.1f} points of precision, and keeping as many of smallest loss "
        f"{drop['loss']:.1f}; the paper's {AGREEMENT_DROP} and {LOSS_DROP} do not"
    ) in text
    made, record = load_table(root / "results/collapse.parquet")
    advice = load_table(root / "results/advice.parquet")[1]["wall_seconds"] / 60
    assert f"likewise | {minutes:.0f}, {record['wall_seconds'] / 60:.0f} and {advice:.0f} min |" in text
    made = made[(made["source"] == "bed") & (made["noise_rate"] > 0)]
    dead = made.groupby(["method", "asymmetry", "map", "imbalance"])["dead_classes"].mean()
    lost = dead["coteaching"]
    assert lost.idxmax() == (1.0, "majority", 100.0)
    assert lost.xs(1.0, level="imbalance").max() == 0
    assert (
        f"at most {lost[0.0].max():.1f} dies when the noise is symmetric, and up to {lost.max():.1f} when"
        in text
    )
    assert f"for each observed class, at most {dead['coteaching_quota'].max():.1f} die there." in text


def test_results_of_the_readme_are_those_of_the_archive(root: Path) -> None:
    rows, record = load_archive(root / "results/archive.parquet")
    text = " ".join((root / "README.md").read_text().split())
    wall = record["wall_seconds"]
    assert f"| {wall / 60:.0f} min, {record['runs'] / wall:.1f} runs a second | `make archive` |" in text
    scores = condition_scores(rows)
    ranks = bootstrap_ranks(scores)
    for name, row in ranks.iterrows():
        cells = rf"\| {METHODS[name].title}( \([^)]*\))? \| {row['mean_rank']:.2f} \| {row['wins']:.1f} \|"
        assert re.search(cells, text), f"{name} is not in the README as {cells}"
    clean = 100 * rows[rows["noise_rate"] == 0].groupby("method")[["balanced_accuracy", "accuracy"]].mean()
    gain = clean.loc["dividemix"] - clean.loc["ce"]
    cost = cost_curve(rows).set_index(["noise_type", "noise_rate"]) * 100
    low, high = cost.loc["asymmetric", 0.0], cost.loc["asymmetric", 0.4]
    part = rows.query("dataset == 'ham10000' and backbone == 'deit_tiny' and method == 'coteaching'")
    skin = part.query("noise_type == 'asymmetric' and noise_rate == 0.4").mean(numeric_only=True)
    leader = ranks.loc["dividemix"]
    for sentence in (
        f"{len(rows):,} runs",
        f"The Friedman statistic is {friedman(scores).statistic:.1f} (the source paper: {CHI2})",
        f"put DivideMix between {leader['low']:.2f} and {leader['high']:.2f}.",
        f"by {gain['balanced_accuracy']:+.1f} points of balanced accuracy",
        f"and {gain['accuracy']:+.1f} points of accuracy",
        f"is worth {low['mean']:.1f} points of balanced accuracy on clean labels and {high['mean']:.1f} at",
        f"(the paper: {CLEAN_COST} and {ASYMMETRIC_COST})",
        f"would show {low['noise_floor']:.1f} and {high['noise_floor']:.1f} by chance",
        f"Co-teaching has {100 * skin['accuracy']:.0f} % accuracy, but",
        f"{100 * skin['balanced_accuracy']:.0f} % balanced accuracy",
        f"and {skin['dead_classes']:.1f} of 7 classes dead",
    ):
        assert sentence in text, sentence


def test_what_the_readme_says_of_dividemix_and_of_accuracy_is_in_the_tables(root: Path) -> None:
    rows, _ = load_archive(root / "results/archive.parquet")
    arms, _ = load_archive(root / "results/arms.parquet")
    text = " ".join((root / "README.md").read_text().split())
    settings = arms[arms["study"] == "settings"]
    same = rows[(rows["backbone"] == "deit_tiny") & rows["seed"].isin(settings["seed"])]
    same = same[same["noise_rate"].isin(settings["noise_rate"])]

    def ranks(label: str) -> pd.Series:
        """Mean ranks with DivideMix as it is in the study `settings` under `label`."""
        new = settings[settings["method"] == label].assign(method="dividemix")
        field = pd.concat([same[same["method"] != "dividemix"], new])
        return rank_table(condition_scores(field, distinct=True))["mean_rank"]

    default = rank_table(condition_scores(same, distinct=True))["mean_rank"]
    bare, untold = ranks("dividemix-no-prior"), ranks("dividemix-untold")
    accurate = rank_table(condition_scores(rows, score="accuracy"))
    assert (bare.index[0], accurate.index[0], accurate["wins"].idxmax()) == ("cufit", "elr", "elr")
    for sentence in (
        f"its mean rank is {default['dividemix']:.2f};",
        f"without the penalty it is {bare['dividemix']:.2f}, and",
        f"CUFIT-head leads with {bare['cufit']:.2f}; told nothing of the noise but with the penalty it is",
        f"with the penalty it is {untold['dividemix']:.2f}.",
        f"ELR has the best mean rank, {accurate['mean_rank']['elr']:.2f}, and",
        f"the most wins, {accurate['wins']['elr']:.1f} of 150, where the source paper counts {ELR_WINS}.",
    ):
        assert sentence in text, sentence


def test_files_named_in_the_prose_exist(root: Path) -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (root / page).read_text()):
            assert (root / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_paths_in_backticks_exist(root: Path, page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", (root / page).read_text(), flags=re.S | re.M)
    words = re.findall(r"`([\w./<>-]+)`", prose)
    endings = r"\.(py|ipynb|md|toml|lock|ya?ml|bib|cff)$"
    paths = {word for word in words if "/" in word or re.search(endings, word)}
    assert paths
    for path in paths - {".venv/bin"}:  # made by `make install`
        # A name in angle brackets stands for any; `methods/` is short for noisylib/methods/.
        pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
        found = [*root.glob(pattern), *(root / "noisylib").glob(pattern)]
        assert found, f"{page} names {path}, which is not there"


def test_table_of_contents_is_prose_and_every_page_of_the_chapters(root: Path) -> None:
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    listed = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    assert len(listed) == len(set(listed))
    made = {f"book/pages/{page.slug}" for chapter in CHAPTERS.values() for page in chapter.pages}
    assert made <= set(listed), "a chapter's page is missing from _toc.yml"
    for name in set(listed) - made:
        assert (root / f"{name}.md").is_file(), f"_toc.yml lists {name}, which no file or chapter makes"


def test_every_citation_key_is_in_the_bibliography(root: Path) -> None:
    keys = re.findall(r"^@\w+\{\s*([^,\s]+)", (root / "book" / "references.bib").read_text(), flags=re.M)
    assert len(keys) == len(set(keys)), "a key is defined twice"
    used = {f"method {name}": method.citation for name, method in METHODS.items()}
    used |= {f"dataset {name}": info.citation for name, info in DATASETS.items()}
    used |= {f"backbone {name}": info.citation for name, info in BACKBONES.items()}
    missing = {where: key for where, key in used.items() if key not in keys}
    assert not missing


def test_import_loads_no_optional_package(root: Path) -> None:
    code = f"import sys, noisylib; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_fine_tuning_of_the_readme_is_that_of_the_tables(root: Path) -> None:
    rows, record = load_table(root / "results/turn_small.parquet")
    longer, cleaning = (
        load_table(root / f"results/turn_small_{part}.parquet")[0] for part in ("longer", "cleaning")
    )
    readme = " ".join((root / "README.md").read_text().split())
    probes = int((rows["tuning"] == "lp").sum())
    minutes = f"{record['wall_seconds'] / 60:.0f} min"
    assert f"{len(rows) - probes} networks and {probes} probes, likewise | {minutes} |" in readme
    tables = {score: turn_rows.score_table(rows, score) for score in ("accuracy", "balanced_accuracy")}
    best = {
        score: turn_rows.wins(table.groupby(level=[*turn_rows.SET, *turn_rows.NOISE]).mean()).sum()
        for score, table in tables.items()
    }
    columns = len(tables["accuracy"]) // 3
    assert f"it is best in {best['accuracy']['TURN']:.0f} of {columns} and full" in readme
    assert f"fine-tuning with cross-entropy in {best['accuracy']['FFT-CE']:.0f}, which" in readme
    means = tables["balanced_accuracy"].mean().sort_values(ascending=False)
    assert list(means.index[:2]) == ["TURN", "LP-DivideMix"]
    assert (
        f"the highest mean, {means['TURN']:.1f} % (LP-DivideMix, told the noise, "
        f"{means['LP-DivideMix']:.1f} %; "
        f"FFT-CE {means['FFT-CE']:.1f} %), and is best in {best['balanced_accuracy']['TURN']:.0f}."
    ) in readme
    run = ["dataset", "noise_type", "noise_rate", "seed"]
    cost = rows.pivot(index=run, columns="label", values="flops")
    assert f"takes {(cost['TURN'] / cost['FFT-CE']).median():.2f} times the operations of FFT-CE" in readme
    assert f"FFT-CE and {(cost['TURN'] / cost['LP-CE']).median():.0f} times those" in readme
    first = cleaning[(cleaning["tau"] == cleaning["run_tau"]) & (cleaning["epoch"] == 0)]
    lost = first.groupby("dataset")["lost"].mean()
    assert f"on HAM10000 it leaves out {lost['ham10000']:.0%}".replace("%", " %") in readme
    paired = [
        100
        * longer.merge(rows[rows["label"] == label], on=run).eval("balanced_accuracy_x - balanced_accuracy_y")
        for label in ("FFT-CE", "TURN")
    ]
    assert len(paired[0]) == 10
    assert (
        f"FFT-CE gains {paired[0].mean():.1f} points of balanced accuracy and is {paired[1].mean():.1f} "
        "above TURN" in readme
    )
    assert rows["n_train"].max() == 512
    assert rows["image_size"].unique().tolist() == [64]
    steps = longer["steps"].sum() / rows.merge(longer[[*run, "label"]], on=[*run, "label"])["steps"].sum()
    assert steps == 3, "five epochs and fifteen"


def test_advice_of_the_readme_is_that_of_the_tables(root: Path) -> None:
    text = " ".join((root / "README.md").read_text().split())
    lost = 100 * selector_regret(pools(root / "results")["recommended"]).mean()
    assert (
        f"loses {lost['always dividemix']:.2f} points of balanced accuracy against the best of nine methods "
        f"in hindsight, TURN-head {lost['always turn']:.2f}, CUFIT-head {lost['always cufit']:.2f}, "
        f"ELR {lost['always elr']:.2f}, and a choice by lot {lost['random']:.2f}."
    ) in text
    rules = lost[["tree", "minimax", "nearest", "ridge"]]
    assert f"does clearly better on a new kind of image (the best of four loses {rules.min():.2f})" in text
    assert lost["fixed"] - rules.min() < 0.02
    assert f"ends with the fixed method and its {lost['selector']:.2f}." in text
    assert lost["selector"] == lost["fixed"] == lost["always dividemix"]
    by_accuracy = 100 * selector_regret(pools(root / "results", "accuracy")["recommended"]).mean()
    assert f"By accuracy the fixed method is ELR, {by_accuracy['always elr']:.2f} points below" in text
    assert by_accuracy["fixed"] == by_accuracy["always elr"]
    errors = json.loads((root / "noisylib/fitted/noise_rate.json").read_text())["errors"]["whole_held_out"]
    kinds = ", ".join(f"{kind} {100 * value:.1f}" for kind, value in errors["kinds"].items())
    assert f"rate is off by {100 * errors['all']:.1f} points on average ({kinds})" in text
    labels, _ = load_table(root / "results/label_errors.parquet")
    found = labels[labels["noise_rate"] > 0].groupby("detector")["auroc"].mean()
    rival = max(value for name, value in found.items() if name.startswith("cleanlab"))
    assert (
        f"with an AUROC of {found['clean_probability']:.2f} over 15 banks and four kinds of noise, where the "
        f"best ranking by cleanlab reaches {rival:.2f} and nearest neighbours {found['knn']:.2f};"
    ) in text
