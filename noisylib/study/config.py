"""What a study is: a grid of conditions, read strictly from YAML, and the runs it expands to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from noisylib.data.catalog import DATASETS
from noisylib.data.human import CIFAR_N
from noisylib.errors import ConfigError, NoisylibError, check_name
from noisylib.features.bank import FeatureBank, load_bank
from noisylib.heads import HEAD_KINDS
from noisylib.noise import NOISE_TYPES, check_rate
from noisylib.precision import check_precision
from noisylib.recipe import Recipe
from noisylib.study.banks import needed_banks, require_banks
from noisylib.study.method_spec import MethodSpec, file_name

_GRID = ("datasets", "backbones", "noise_types", "noise_rates", "methods", "seeds")
NO_HEAD = "none"  # in the rows of methods that train none

# Raised when training semantics change, so that rows of older code are not taken for new ones.
RESULTS_VERSION = 2


@dataclass(frozen=True)
class RunSpec:
    """One training run, described completely except for the features themselves.

    Human labels are noise of the type "human": `class_map` names their set, and `noise_rate` is 0, for nobody
    asked for a rate. Rows have the one that was counted.
    """

    dataset: str
    backbone: str
    noise_type: str
    noise_rate: float
    class_map: str
    method: MethodSpec
    head: str
    seed_noise: int
    seed_train: int
    recipe: Recipe
    reference_backbone: str = ""  # of instance-dependent noise
    precision: str = "float32"

    def run_id(self, bank_checksum: str, reference_checksum: str = "") -> str:
        """Return 16 hex digits that change with anything that could change the result.

        Parameters
        ----------
        bank_checksum : of the features that are trained on.
        reference_checksum : of the bank that instance-dependent noise is made from.
        """
        content = asdict(self) | {"bank": bank_checksum, "results_version": RESULTS_VERSION}
        if self.noise_type == "instance":
            content["reference_bank"] = reference_checksum
        else:
            del content["reference_backbone"]
        if self.precision == "float32":  # what all runs were before there was another
            del content["precision"]
        # A label is a name for a row, not a cause of its value; the map matters to asymmetric noise, and says
        # which labels they are if people gave them.
        content["method"] = [self.method.name, self.method.options]
        if self.noise_type not in ("asymmetric", "human"):
            del content["class_map"]
        return _digest(content)


@dataclass(frozen=True)
class StudyConfig:
    """A grid: every dataset x backbone x noise type x rate x method x head x seed is one run.

    Human labels have no rate to sweep: with noise type "human", each set of them is one condition.

    Attributes
    ----------
    name : names the results folder.
    datasets, backbones : feature banks.
    noise_types, noise_rates : conditions; rates are fractions. No rates if "human" is the only type.
    human_labels : for "human": names of sets of labels; a data set has the conditions of those it has.
    methods : registry names or mappings with changed hyper-parameters and a label.
    heads : kinds of head.
    seeds : each sets the noise draw, the start of the heads and the batch order.
    class_map : which named map of the dataset asymmetric noise follows.
    reference_backbone : whose features make instance-dependent noise; needed by that type only.
    recipe : optimisation settings that differ from the default.
    description : one sentence for people.
    precision : of the products of a training step, as `train_bank`.
    """

    name: str
    datasets: tuple[str, ...]
    backbones: tuple[str, ...]
    noise_types: tuple[str, ...]
    noise_rates: tuple[float, ...]
    methods: tuple[MethodSpec, ...]
    seeds: tuple[int, ...]
    heads: tuple[str, ...] = ("adapter",)
    class_map: str = "default"
    reference_backbone: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    description: str = ""
    human_labels: tuple[str, ...] = ()
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_precision(self.precision)
        unused = {
            name for name, used in (("noise_rates", self.swept), ("human_labels", self.human)) if not used
        }
        for name in (*_GRID, "heads", "human_labels"):
            values = getattr(self, name)
            if name in unused and values:
                raise ConfigError(
                    f"{name}={list(values)}, but noise_types={list(self.noise_types)} has no use for it: "
                    "human labels have no rate to sweep, and other noise has no human labels."
                )
            if name not in unused and (not values or len(set(values)) != len(values)):
                raise ConfigError(f"{name}={list(values)}: give at least one value, and none twice.")
        file_name("name", self.name)
        rules = [(m.name, m.options) for m in self.methods]
        if len(set(rules)) != len(rules):
            raise ConfigError(f"methods={rules}: two entries are the same rule under two labels; keep one.")
        labels = [m.label for m in self.methods]
        if len(set(labels)) != len(labels):
            raise ConfigError(f"methods have the labels {labels}: give each a label of its own.")
        for head in self.heads:
            check_name("heads", head, HEAD_KINDS)
            for method in self.methods:
                method.rule.head_kinds(head)  # some methods refuse some heads
        for noise_type in self.noise_types:
            check_name("noise_types", noise_type, NOISE_TYPES)
            if noise_type == "instance" and not self.reference_backbone:
                raise ConfigError(
                    "noise_types has instance, but reference_backbone is empty: name the backbone whose "
                    "features make the noise, one that is not evaluated."
                )
        known = {name for dataset in self.datasets for name in CIFAR_N.get(dataset, ())}
        if known and all(dataset in DATASETS for dataset in self.datasets):
            for name in self.human_labels:
                check_name(f"human_labels (of {', '.join(self.datasets)})", name, known)
        for dataset in self.datasets:
            if dataset in DATASETS:
                self.check_dataset(dataset, DATASETS[dataset].classes)

    @property
    def human(self) -> bool:
        """Whether labels that people gave are among the conditions."""
        return "human" in self.noise_types

    @property
    def swept(self) -> bool:
        """Whether any noise is made, and so has rates."""
        return any(noise_type != "human" for noise_type in self.noise_types)

    def label_sets(self, dataset: str) -> tuple[str, ...]:
        """Return the sets of human labels that are conditions of a data set.

        A set outside the catalogue, a user's own bank, is taken to have all of them.
        """
        has = CIFAR_N.get(dataset, () if dataset in DATASETS else self.human_labels)
        return tuple(name for name in self.human_labels if name in has) if self.human else ()

    def conditions(self, dataset: str) -> list[tuple[str, float, str]]:
        """Return (noise type, noise rate, class map) of every condition of a data set, in order."""
        return [
            condition
            for noise_type in self.noise_types
            for condition in (
                [("human", 0.0, name) for name in self.label_sets(dataset)]
                if noise_type == "human"
                else [(noise_type, rate, self.class_map) for rate in self.noise_rates]
            )
        ]

    def check_dataset(self, dataset: str, class_names: Sequence[str]) -> None:
        """Check rates and class map against the classes of a data set.

        Names outside the catalogue are the user's own banks; they are looked up when the banks are.
        """
        for noise_type, rate, _ in self.conditions(dataset):
            check_rate(noise_type, rate, len(class_names))
        if self.human and not self.label_sets(dataset):
            has = ", ".join(f"{name} ({', '.join(sets)})" for name, sets in CIFAR_N.items())
            raise ConfigError(
                f"noise_types has human, but dataset {dataset!r} has none of human_labels="
                f"{list(self.human_labels)}. Sets with human labels: {has}."
            )
        if "asymmetric" in self.noise_types:
            if dataset not in DATASETS:
                raise ConfigError(
                    f"datasets has {dataset!r}, which is not in the catalogue and so has no class map for "
                    "asymmetric noise: use symmetric or pairflip noise, or add a row to the catalogue."
                )
            DATASETS[dataset].map_indices(self.class_map, class_names)

    def load_banks(self, root: str | Path | None = None) -> dict[tuple[str, str], FeatureBank]:
        """Return the study's banks by (dataset, backbone), after checking that they fit its conditions.

        The bank that instance-dependent noise is made from is among them.

        Raises
        ------
        MissingDataError
            Banks are missing; the text lists them all, with the commands that make them.
        """
        require_banks(self, root)
        banks = {}
        for dataset, backbone in needed_banks(self):
            bank = banks[dataset, backbone] = load_bank(dataset, backbone, root, mapped="auto")
            self.check_dataset(dataset, bank.class_names)
            for name in self.label_sets(dataset):
                bank.training_human_labels(name)  # or an error that says how to add them
        return banks

    @property
    def digest(self) -> str:
        """16 hex digits over everything but the description."""
        content = self.plain()
        del content["description"]
        return _digest(content)

    def plain(self) -> dict[str, Any]:
        """Return the study as plain JSON values."""
        content = json.loads(json.dumps(asdict(self)))
        if not self.human:  # what such studies were before there were any with human labels
            del content["human_labels"]
        if self.precision == "float32":
            del content["precision"]
        return content

    def runs(self) -> list[RunSpec]:
        """Return every run of the grid, in a fixed order."""
        return [
            RunSpec(
                dataset, backbone, noise_type, rate, class_map, method, head, seed, seed, self.recipe,
                self.reference_backbone if noise_type == "instance" else "",
                self.precision if method.rule.n_nets else "float32",  # only networks have products to round
            )
            for dataset in self.datasets
            for backbone in self.backbones
            for method in self.methods
            for head in (self.heads if method.rule.n_nets else (NO_HEAD,))
            for seed in self.seeds
            for noise_type, rate, class_map in self.conditions(dataset)
        ]  # fmt: skip


def load_config(path: str | Path | StudyConfig) -> StudyConfig:
    """Read a study from YAML; unknown keys, wrong types and impossible values are errors.

    Raises
    ------
    ConfigError, UnknownNameError, NoisylibError
        Each names the file, the key, the value and what is allowed.
    """
    if isinstance(path, StudyConfig):
        return path
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        raise ConfigError(f"no study at {path}. Studies in {path.parent}: {', '.join(near) or 'none'}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return parse_config(content)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    except NoisylibError as error:
        raise type(error)(f"{path}: {error}") from error


def parse_config(content: object) -> StudyConfig:
    """Build a study from the mapping a YAML file holds."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"a study is a mapping of keys to values, not {type(content).__name__}.")
    allowed = [f.name for f in fields(StudyConfig)]
    for key in content:
        check_name("key", key, allowed)
    optional = {"noise_rates"} if content.get("noise_types") == ["human"] else set()
    missing = [name for name in ("name", *_GRID) if name not in content and name not in optional]
    if missing:
        raise ConfigError(f"the study lacks {', '.join(missing)}.")
    values: dict[str, Any] = dict.fromkeys(optional, ())
    for key, value in content.items():
        if key in _LISTS:
            values[key] = tuple(_element(key, item) for item in _as_list(key, value))
        elif key == "recipe":
            values[key] = _recipe(value)
        else:
            values[key] = _typed(key, value, str)
    return StudyConfig(**values)


_LISTS: dict[str, type] = {
    "datasets": str,
    "backbones": str,
    "noise_types": str,
    "noise_rates": float,
    "seeds": int,
    "heads": str,
    "human_labels": str,
    "methods": object,
}


def _as_list(key: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise ConfigError(f"{key}={value!r}: a list is needed, for example {key}: [{value}].")
    return value


def _element(key: str, item: object) -> Any:
    return MethodSpec.parse(item) if key == "methods" else _typed(key, item, _LISTS[key])  # type: ignore[arg-type]


def _typed(key: str, value: object, kind: type) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{key}: {value!r} is {type(value).__name__}, {kind.__name__} is needed.")
    return value


def _recipe(value: object) -> Recipe:
    if not isinstance(value, Mapping):
        raise ConfigError(f"recipe={value!r}: a mapping is needed, for example recipe: {{epochs: 20}}.")
    for key in value:
        check_name("recipe key", key, [f.name for f in fields(Recipe)])
    return Recipe(**value)


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
