"""The paper's grid: complete, clear about absent banks, and run end to end in miniature."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from noisylib import cli
from noisylib.data.catalog import DATASETS
from noisylib.errors import MissingDataError
from noisylib.features import BankMeta, FeatureBank, backbone_registry, extract
from noisylib.features.backbones import BackboneInfo, load_backbone
from noisylib.files import file_digest
from noisylib.study import collect, load_config
from noisylib.study.banks import extract_banks, missing_banks
from noisylib.study.config import parse_config

SETS = ("isic2019", "ham10000", "bloodmnist", "pathmnist", "organcmnist")
BACKBONES = ("dinov2_vitb14", "biomedclip", "clip_vitb16")
RANKED = ("ce", "ls", "gce", "forward", "coteaching", "dividemix", "elr", "cufit")
PIXELS = 16
# Of 10 training images in a class, 40 % noise leaves 6, and cross-validation needs 5. MedMNIST also has VAL.
TRAIN, VAL, TEST = 10, 1, 2

# The registry's rows, with networks that are small and images of 32 pixels.
TINY_VIT = {"embed_dim": 16, "depth": 1, "num_heads": 2, "init_values": 1.0}
SMALLER = {
    "dinov2_vitb14": {"n_features": 16, "input_size": 28, "kwargs": {"img_size": 28, **TINY_VIT}},
    "biomedclip": {
        "n_features": 12,
        "input_size": 32,
        "kwargs": {
            "vision_cfg": {
                "timm_model_name": "test_vit",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": 32,
            }
        },
    },
    "clip_vitb16": {
        "n_features": 8,
        "input_size": 32,
        "kwargs": {
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
            "quick_gelu": True,
        },
    },
}


@pytest.fixture
def paper(root: Path) -> dict:
    """The study as it stands in the file."""
    return yaml.safe_load((root / "configs" / "paper.yaml").read_text(encoding="utf-8"))


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_grid_is_the_papers(root):
    config = load_config(root / "configs" / "paper.yaml")
    assert (config.datasets, config.backbones) == (SETS, BACKBONES)
    assert config.noise_types == ("symmetric", "asymmetric")
    assert config.noise_rates == (0.0, 0.1, 0.2, 0.3, 0.4)
    assert tuple(method.label for method in config.methods) == RANKED
    assert config.seeds == (0, 1, 2, 3, 4)
    runs = config.runs()
    conditions = {(run.dataset, run.backbone, run.noise_type, run.noise_rate) for run in runs}
    assert (len(conditions), len(runs)) == (150, 6000)
    # Everything else is the default, as in the archive.
    archive = load_config(root / "configs" / "archive.yaml")
    same = {"datasets": archive.datasets, "backbones": archive.backbones, "description": archive.description}
    assert replace(config, name="archive", **same) == archive


def random_weights(hub: Path, row: BackboneInfo) -> None:
    """Put a randomly initialised checkpoint of a backbone where the hub keeps its files."""
    snapshot = hub / f"models--{row.hub_id.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    model = load_backbone(row, pretrained=False).model
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if row.library == "open_clip":  # both towers in one file
        state = {f"visual.{name}": value for name, value in state.items()} | {"logit_scale": torch.ones(())}
    save = save_file if row.hub_file.endswith(".safetensors") else torch.save
    save(state, snapshot / row.hub_file)


@pytest.fixture
def small_hub(tmp_path, monkeypatch) -> Path:
    """Registry rows of the paper's backbones made small, and a hub cache with their weights."""
    rows = {name: replace(backbone_registry.BACKBONES[name], **SMALLER[name]) for name in BACKBONES}
    known = MappingProxyType({**backbone_registry.BACKBONES, **rows})
    monkeypatch.setattr(backbone_registry, "BACKBONES", known)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for row in rows.values():
        random_weights(tmp_path / "hub", row)
    return tmp_path / "hub"


def pictures(labels: np.ndarray, channels: tuple[int, ...] = (3,)) -> np.ndarray:
    """Return (N, 16, 16, ...) uint8 noise on a brightness that tells the class."""
    rng = np.random.default_rng(len(labels))
    noise = rng.integers(0, 60, (len(labels), PIXELS, PIXELS, *channels))
    return (noise + labels.reshape(-1, *[1] * (2 + len(channels))) * 15).astype(np.uint8)


def balanced(n_classes: int, each: int) -> np.ndarray:
    return np.repeat(np.arange(n_classes), each)


def write_medmnist(folder: Path, name: str) -> str:
    """Write ``<name>.npz`` in the official layout and return its MD5; OrganCMNIST is grey."""
    channels, arrays = () if name == "organcmnist" else (3,), {}
    for split, each in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        labels = balanced(DATASETS[name].n_classes, each)
        arrays[f"{split}_images"] = pictures(labels, channels)
        arrays[f"{split}_labels"] = labels[:, None].astype(np.uint8)
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{name}.npz", **arrays)
    return file_digest(folder / f"{name}.npz", "md5")


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_photographs(folder: Path, names: list[str], labels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for name, image in zip(names, pictures(labels), strict=True):
        Image.fromarray(image).save(folder / f"{name}.jpg")


def write_skin_sets(data: Path) -> None:
    """Write HAM10000 (two image folders) and ISIC 2019 (one-hot labels) with lesions of two images each."""
    classes = DATASETS["ham10000"].classes
    labels = balanced(len(classes), TRAIN + TEST)
    names = [f"ISIC_{24306 + i:07d}" for i in range(len(labels))]
    half = len(labels) // 2
    write_photographs(data / "ham10000" / "HAM10000_images_part_1", names[:half], labels[:half])
    write_photographs(data / "ham10000" / "HAM10000_images_part_2", names[half:], labels[half:])
    rows = [
        {"lesion_id": f"HAM_{i // 2:07d}", "image_id": name, "dx": classes[label], "age": "50.0"}
        for i, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    write_csv(data / "ham10000" / "HAM10000_metadata.csv", rows)

    classes = DATASETS["isic2019"].classes
    labels = balanced(len(classes), TRAIN + TEST)
    names = [f"ISIC_{i:07d}" for i in range(len(labels))]
    write_photographs(data / "isic2019" / "ISIC_2019_Training_Input", names, labels)
    one_hot = [
        {"image": name, **{c: float(c == classes[label]) for c in classes}, "UNK": 0.0}
        for name, label in zip(names, labels, strict=True)
    ]
    write_csv(data / "isic2019" / "ISIC_2019_Training_GroundTruth.csv", one_hot)
    lesions = [{"image": name, "lesion_id": f"BCN_{i // 2:07d}"} for i, name in enumerate(names)]
    write_csv(data / "isic2019" / "ISIC_2019_Training_Metadata.csv", lesions)


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """Made-up images in the official layouts of the five sets."""
    import medmnist.info

    write_skin_sets(tmp_path / "data")
    for name in SETS[2:]:
        # The official files are known by their MD5; these become the official ones.
        digest = write_medmnist(tmp_path / "data" / "medmnist", name)
        monkeypatch.setitem(medmnist.info.INFO[name], "MD5", digest)
    return tmp_path / "data"


def test_the_whole_study_in_miniature(paper, small_hub, data, tmp_path, monkeypatch):
    """From official files to ranks by two commands; only seeds and epochs differ from the file."""
    monkeypatch.setenv("NOISYLIB_BANKS", str(tmp_path / "banks"))
    config = tmp_path / "paper.yaml"
    small = {**paper, "seeds": [0], "recipe": {"epochs": 2, "score_epochs": 1}}
    config.write_text(yaml.safe_dump(small), encoding="utf-8")
    said = invoke("features", "study", config, "--data", data, "--device", "cpu")
    assert "bank 15 of 15: organcmnist under clip_vitb16" in said
    check_banks(tmp_path / "banks")

    where = ("--results", tmp_path / "results", "--device", "cpu", "--jobs", 1)
    assert "1200 runs, 0 done, 1200 missing" in invoke("run", config, "--dry-run", *where)
    invoke("run", config, *where)
    assert "1200 runs, 1200 done, 0 missing" in invoke("run", config, "--dry-run", *where)
    check_rows(collect(config, tmp_path / "results"))


def check_banks(folder: Path) -> None:
    banks = {path.stem: FeatureBank.load(path) for path in sorted(folder.glob("*.safetensors"))}
    assert set(banks) == {f"{dataset}-{backbone}" for dataset in SETS for backbone in BACKBONES}
    for name, bank in banks.items():
        dataset, backbone = name.split("-")
        assert bank.class_names == DATASETS[dataset].classes
        assert bank.n_features == SMALLER[backbone]["n_features"]
        skin = dataset in ("isic2019", "ham10000")
        sizes = [len(bank.indices(split)) / bank.n_classes for split in ("train", "val", "test")]
        assert sizes == [TRAIN, 0 if skin else VAL, TEST]
        assert (bank.groups is not None) == skin
        assert bank.meta.preprocessing["weights"].startswith(backbone_registry.BACKBONES[backbone].hub_id)
        assert f"--backbone {backbone} --data DATA/{dataset if skin else 'medmnist'} " in bank.meta.command
        # Pixels arrive: features tell the darkest class from the brightest.
        X, y = bank.part("train")
        first, last = X[y == 0], X[y == bank.n_classes - 1]
        gap = np.linalg.norm(first.mean(0) - last.mean(0))
        assert gap > 2 * np.linalg.norm(first - first.mean(0), axis=1).mean()


def check_rows(rows) -> None:
    assert len(rows) == 1200
    condition = ["dataset", "backbone", "noise_type", "noise_rate"]
    assert rows.groupby(condition).ngroups == 150
    assert set(rows.groupby(condition).method.agg(frozenset)) == {frozenset(RANKED)}
    scores = rows[["accuracy", "balanced_accuracy", "realised_rate", "seconds"]].to_numpy()
    assert np.isfinite(scores).all()
    assert all(np.isfinite(recall).all() for recall in rows.recall)
    # Of 10 images in a class, whole ones are wrong; asymmetric noise spares classes without a look-alike.
    symmetric = rows[rows.noise_type == "symmetric"]
    np.testing.assert_allclose(symmetric.realised_rate, symmetric.noise_rate, atol=1e-12)
    asymmetric = rows[(rows.noise_type == "asymmetric") & (rows.noise_rate > 0)]
    assert asymmetric.realised_rate.between(0.01, asymmetric.noise_rate + 1e-12).all()
    ranks = mean_ranks(rows)
    assert set(ranks.index) == set(RANKED)
    assert ranks.sum() == pytest.approx(36)  # 1 + 2 + ... + 8
    assert ranks.between(1, 8).all()


def mean_ranks(rows):
    from noisylib.analysis.ranking import rank_table
    from noisylib.analysis.scores import condition_scores

    return rank_table(condition_scores(rows)).mean_rank


def test_a_dry_run_without_banks_is_a_plan_with_commands(root, tmp_path, monkeypatch):
    config = root / "configs" / "paper.yaml"
    monkeypatch.setenv("NOISYLIB_BANKS", str(tmp_path))
    result = CliRunner().invoke(cli.app, ["run", str(config), "--dry-run", "--device", "cpu"])
    assert result.exit_code == 1
    assert isinstance(result.exception, MissingDataError)
    first, *commands, at_once, command, here = str(result.exception).splitlines()
    assert first == (
        "study 'paper' has 150 conditions and 6,000 runs, and reads 15 feature banks. "
        f"15 of them are not in {tmp_path}. Make them with"
    )
    assert "in DATA/isic2019, DATA/ham10000, DATA/medmnist:" in at_once
    assert command == "  noisylib features study configs/paper.yaml --data DATA"
    assert here == "There now: none."
    assert extracted_by(commands, monkeypatch) == [
        (dataset, backbone, f"DATA/{dataset if dataset in SETS[:2] else 'medmnist'}", None)
        for dataset in SETS
        for backbone in BACKBONES
    ]


def extracted_by(commands: list[str], monkeypatch) -> list[tuple]:
    """Give the commands to the command line, and return what each would extract."""
    asked = []

    def record(dataset, data, backbone, out, **more):
        asked.append((dataset, backbone, str(data), out))
        return SimpleNamespace(n_samples=0, n_features=0, meta=BankMeta(dataset, backbone))

    monkeypatch.setattr(extract, "extract_bank", record)
    for command in commands:
        assert command.startswith("  noisylib features extract ")
        invoke(*command.split()[1:])
    return asked


def made_bank(folder: Path, dataset: str, backbone: str) -> Path:
    """Save a bank of two samples per class, one for training."""
    classes = DATASETS[dataset].classes if dataset in DATASETS else ("a", "b")
    labels, split = np.tile(np.arange(len(classes)), 2), np.repeat([0, 2], len(classes))
    path = folder / f"{dataset}-{backbone}.safetensors"
    bank = FeatureBank.from_arrays(labels[:, None], labels, split, classes, BankMeta(dataset, backbone))
    bank.save(path)
    return path


def test_only_what_is_missing_is_asked_for_and_a_named_folder_is_kept(paper, tmp_path, monkeypatch):
    made_bank(tmp_path, "ham10000", "biomedclip")
    config = parse_config({**paper, "datasets": ["ham10000"], "backbones": ["biomedclip", "clip_vitb16"]})
    with pytest.raises(MissingDataError, match="20 conditions and 800 runs") as caught:
        config.load_banks(tmp_path)
    _, *commands, _, command, here = str(caught.value).splitlines()
    assert command == f"  noisylib features study configs/paper.yaml --data DATA --banks {tmp_path}"
    assert here == "There now: ham10000-biomedclip."
    path = tmp_path / "ham10000-clip_vitb16.safetensors"
    assert extracted_by(commands, monkeypatch) == [("ham10000", "clip_vitb16", "DATA/ham10000", path)]
    made_bank(tmp_path, "ham10000", "clip_vitb16")
    assert set(config.load_banks(tmp_path)) == {("ham10000", "biomedclip"), ("ham10000", "clip_vitb16")}


def test_the_bank_that_makes_instance_noise_is_needed_too(paper, tmp_path):
    made_bank(tmp_path, "ham10000", "biomedclip")
    grid = {"datasets": ["ham10000", "digits"], "backbones": ["biomedclip"], "reference_backbone": "resnet50"}
    config = parse_config({**paper, **grid, "noise_types": ["instance"]})
    assert missing_banks(config, tmp_path) == [("ham10000", "resnet50")]
    assert missing_banks(replace(config, noise_types=("symmetric",)), tmp_path) == []


def test_a_bank_of_ones_own_has_no_command(paper, tmp_path):
    made_bank(tmp_path, "mine", "model")
    grid = {"datasets": ["mine"], "backbones": ["model", "clip_vitb16"], "noise_types": ["symmetric"]}
    config = parse_config({**paper, **grid})
    with pytest.raises(MissingDataError) as caught:
        config.load_banks(tmp_path)
    assert f"(your own bank: save it as {tmp_path / 'mine-clip_vitb16.safetensors'})" in str(caught.value)
    assert "features study" not in str(caught.value)
    with pytest.raises(MissingDataError, match=r"your own bank: save it as .*mine-clip_vitb16"):
        extract_banks(config, tmp_path, banks=tmp_path)


def test_everything_absent_is_said_at_once_and_before_the_work(paper, small_hub, data, tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "extract_bank", lambda *args, **more: pytest.fail("extracted too soon"))
    shutil.rmtree(data / "isic2019" / "ISIC_2019_Training_Input")
    (data / "medmnist" / "pathmnist.npz").write_bytes(b"another file")
    clip = backbone_registry.BACKBONES["clip_vitb16"].hub_id
    shutil.rmtree(small_hub / f"models--{clip.replace('/', '--')}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingDataError) as caught:
        extract_banks(parse_config(paper), data, banks=tmp_path / "banks")
    first, *problems = str(caught.value).splitlines()
    assert first.startswith("nothing was extracted")
    expected = (
        "ISIC 2019: 96 of 96 images",
        "pathmnist.npz is not the official file",
        "backbone='clip_vitb16'",
    )
    assert len(problems) == len(expected)
    assert all(words in problem for words, problem in zip(expected, problems, strict=True))
    assert not (tmp_path / "banks").exists()


def test_a_stopped_extraction_goes_on_where_it_was(paper, small_hub, data, tmp_path, monkeypatch):
    config = parse_config({**paper, "datasets": ["ham10000", "bloodmnist"]})
    extract_bank, calls = extract.extract_bank, []

    def stopping(dataset, folder, backbone, **more):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append((dataset, backbone))
        return extract_bank(dataset, folder, backbone, **more)

    settings = {"banks": tmp_path / "banks", "device": "cpu", "progress": False}
    monkeypatch.setattr(extract, "extract_bank", stopping)
    with pytest.raises(KeyboardInterrupt):
        extract_banks(config, data, **settings)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "banks").iterdir()}
    assert len(before) == 2
    monkeypatch.setattr(extract, "extract_bank", extract_bank)
    said = []
    made = extract_banks(config, data, **settings, echo=said.append)
    assert [path.stem for path in made] == [
        "ham10000-clip_vitb16",
        *(f"bloodmnist-{backbone}" for backbone in BACKBONES),
    ]
    assert said[0] == "bank 1 of 4: ham10000 under clip_vitb16"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert extract_banks(config, data, **settings) == []
    # Files that lie together in one folder are found as well.
    shutil.copy(data / "medmnist" / "bloodmnist.npz", tmp_path / "bloodmnist.npz")
    made[-1].unlink()
    one = replace(config, datasets=("bloodmnist",))
    assert extract_banks(one, tmp_path, **settings) == [made[-1]]


def test_only_sets_that_can_be_fetched_are_fetched(paper, small_hub, data, tmp_path, monkeypatch):
    asked = {}

    def refuse(name, root, *, download):
        asked[name] = download
        raise MissingDataError("stop here")

    monkeypatch.setattr("noisylib.data.load_images", refuse)
    with pytest.raises(MissingDataError, match="stop here"):
        extract_banks(parse_config(paper), data, banks=tmp_path / "banks", download=True)
    assert asked == {name: name not in ("isic2019", "ham10000") for name in SETS}
