"""What a study is: a grid of conditions, read strictly from YAML, and the runs it expands to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from noisylib.data.catalog import DATASETS
from noisylib.errors import ConfigError, NoisylibError, check_name
from noisylib.features.bank import FeatureBank, load_bank
from noisylib.heads import HEAD_KINDS
from noisylib.methods import METHODS, Method, make_method
from noisylib.noise import NOISE_TYPES, check_rate
from noisylib.recipe import Recipe
from noisylib.study.banks import needed_banks, require_banks

NO_HEAD = "none"  # in the rows of methods that train none

# Raised when training semantics change, so that rows of older code are not taken for new ones.
RESULTS_VERSION = 2


@dataclass(frozen=True)
class MethodSpec:
    """A method of a study: registry name, changed hyper-parameters, and the label rows carry."""

    name: str
    options: tuple[tuple[str, float], ...] = ()
    label: str = ""

    @property
    def rule(self) -> Method:
        """The method itself."""
        return make_method(self.name, dict(self.options))

    @classmethod
    def parse(cls, entry: str | Mapping[str, Any]) -> MethodSpec:
        """Read ``ce`` or ``{name: elr, lam: 1.0, label: elr-weak}``; the label defaults to the name."""
        if isinstance(entry, str):
            entry = {"name": entry}
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise ConfigError(
                f"methods entry {entry!r}: write a name, or {{name: elr, lam: 1.0, label: ...}}."
            )
        options = {key: value for key, value in entry.items() if key not in ("name", "label")}
        make_method(entry["name"], options)  # an unknown name, option or value ends here
        label = _file_name("label", entry.get("label", entry["name"]))
        if options and label in METHODS:
            raise ConfigError(
                f"methods entry {dict(entry)!r} changes hyper-parameters: give it a label of its own, "
                f"such as label: {entry['name']}-variant, or its rows look like the default's."
            )
        return cls(entry["name"], tuple(sorted(options.items())), label)


@dataclass(frozen=True)
class RunSpec:
    """One training run, described completely except for the features themselves."""

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
        # A label is a name for a row, not a cause of its value; the map matters to asymmetric noise only.
        content["method"] = [self.method.name, self.method.options]
        if self.noise_type != "asymmetric":
            del content["class_map"]
        return _digest(content)


@dataclass(frozen=True)
class StudyConfig:
    """A grid: every dataset x backbone x noise type x rate x method x head x seed is one run.

    Attributes
    ----------
    name : names the results folder.
    datasets, backbones : feature banks.
    noise_types, noise_rates : conditions; rates are fractions.
    methods : registry names or mappings with changed hyper-parameters and a label.
    heads : kinds of head.
    seeds : each sets the noise draw, the start of the heads and the batch order.
    class_map : which named map of the dataset asymmetric noise follows.
    reference_backbone : whose features make instance-dependent noise; needed by that type only.
    recipe : optimisation settings that differ from the default.
    description : one sentence for people.
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

    def __post_init__(self) -> None:
        for name in ("datasets", "backbones", "noise_types", "noise_rates", "methods", "seeds", "heads"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ConfigError(f"{name}={list(values)}: give at least one value, and none twice.")
        _file_name("name", self.name)
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
            if noise_type == "human":
                raise ConfigError(
                    "noise_types: human labels have no rate to sweep; use noisylib.noise.inject."
                )
            if noise_type == "instance" and not self.reference_backbone:
                raise ConfigError(
                    "noise_types has instance, but reference_backbone is empty: name the backbone whose "
                    "features make the noise, one that is not evaluated."
                )
        for dataset in self.datasets:
            if dataset in DATASETS:
                self.check_dataset(dataset, DATASETS[dataset].classes)

    def check_dataset(self, dataset: str, class_names: Sequence[str]) -> None:
        """Check rates and class map against the classes of a data set.

        Names outside the catalogue are the user's own banks; they are looked up when the banks are.
        """
        for noise_type in self.noise_types:
            for rate in self.noise_rates:
                check_rate(noise_type, rate, len(class_names))
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
            bank = banks[dataset, backbone] = load_bank(dataset, backbone, root)
            self.check_dataset(dataset, bank.class_names)
        return banks

    @property
    def digest(self) -> str:
        """16 hex digits over everything but the description."""
        content = asdict(self)
        del content["description"]
        return _digest(content)

    def runs(self) -> list[RunSpec]:
        """Return every run of the grid, in a fixed order."""
        return [
            RunSpec(
                dataset, backbone, noise_type, rate, self.class_map, method, head, seed, seed, self.recipe,
                self.reference_backbone if noise_type == "instance" else "",
            )
            for dataset in self.datasets
            for backbone in self.backbones
            for method in self.methods
            for head in (self.heads if method.rule.n_nets else (NO_HEAD,))
            for seed in self.seeds
            for noise_type in self.noise_types
            for rate in self.noise_rates
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
    missing = [f for f in ("name", "datasets", "backbones", "noise_types", "noise_rates", "methods", "seeds")
               if f not in content]  # fmt: skip
    if missing:
        raise ConfigError(f"the study lacks {', '.join(missing)}.")
    values: dict[str, Any] = {}
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
    "methods": object,
}


def _as_list(key: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise ConfigError(f"{key}={value!r}: a list is needed, for example {key}: [{value}].")
    return value


def _element(key: str, item: object) -> Any:
    return MethodSpec.parse(item) if key == "methods" else _typed(key, item, _LISTS[key])  # type: ignore[arg-type]


def _file_name(key: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ConfigError(
            f"{key}={value!r}: it becomes part of a file name, so use letters, digits, '_', '.', '-'."
        )
    return value


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
