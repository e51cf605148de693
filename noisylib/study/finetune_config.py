"""What a study of full fine-tuning is: a grid of conditions and rows, read strictly from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from noisylib.data.catalog import DATASETS, DatasetInfo
from noisylib.data.human import CIFAR_N
from noisylib.errors import ConfigError, NoisylibError, check_name
from noisylib.features.backbone_registry import BACKBONES
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.noise import NOISE_TYPES, max_rate
from noisylib.recipe import Recipe
from noisylib.study.finetune_methods import TuningSpec
from noisylib.study.method_spec import file_name

SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class Condition:
    """One kind of wrong labels.

    Attributes
    ----------
    noise_type : as in `noisylib.noise.NOISE_TYPES`.
    noise_rate : fraction asked for; 0 for human labels, of which nobody asked for a rate.
    labels : name of the set of human labels; else empty.
    """

    noise_type: str
    noise_rate: float = 0.0
    labels: str = ""

    @property
    def text(self) -> str:
        """The condition as a configuration writes it."""
        return f"{self.noise_type} {self.labels or format(self.noise_rate, 'g')}"

    @property
    def slug(self) -> str:
        """The condition as a part of a file name."""
        return self.text.replace(" ", "-")

    @classmethod
    def parse(cls, text: object) -> Condition:
        """Read "symmetric 0.4", "asymmetric 0.4", "instance 0.4" or "human worst"."""
        parts = text.split() if isinstance(text, str) else []
        if len(parts) != 2:
            raise ConfigError(
                f"conditions entry {text!r}: write a noise type and a rate, such as 'symmetric 0.4', or "
                "human and the name of a set of labels, such as 'human worst'."
            )
        noise_type, value = parts
        check_name("conditions: noise type", noise_type, NOISE_TYPES)
        if noise_type == "human":
            return cls("human", 0.0, file_name("conditions: labels", value))
        try:
            rate = float(value)
        except ValueError:
            raise ConfigError(f"conditions entry {text!r}: {value!r} is not a number.") from None
        if not 0 <= rate < 1:
            raise ConfigError(f"conditions entry {text!r}: a rate is a fraction in [0, 1), so 40 % is 0.4.")
        return cls(noise_type, rate)

    def obstacle(self, info: DatasetInfo) -> str:
        """Return why a data set cannot have this condition, or "" if it can."""
        if self.noise_type == "human":
            has = human_sets(info)
            return "" if self.labels in has else f"it has the human labels {', '.join(has) or 'none'}"
        if info.kind == "filelist":
            return "its training labels are web labels, so nobody can make wrong ones of right ones"
        bound = max_rate(self.noise_type, info.n_classes)
        if self.noise_rate >= bound:
            return f"with {info.n_classes} classes the rate must be below {bound:g}"
        if self.noise_type == "asymmetric" and not info.class_maps:
            return "it has no class map"
        return ""


def human_sets(info: DatasetInfo) -> tuple[str, ...]:
    """Return the names of the sets of human labels that a data set comes with."""
    return ("web",) if info.kind == "filelist" else tuple(CIFAR_N.get(info.name, ()))


@dataclass(frozen=True)
class FinetuneConfig:
    """A grid: every data set x backbone x condition x row of the table x seed.

    A condition that a data set cannot have (a rate beyond what its classes allow, made noise on web labels,
    human labels it does not come with) is left out for that set; one that none can have is an error.

    Attributes
    ----------
    name : names the tables and their folder.
    datasets, backbones : image sets and networks.
    image_size : side of the images in pixels.
    conditions : see `Condition`.
    methods : rows of the table, see `TuningSpec`.
    seeds : each sets the noise draw, the start of the heads, the batch order and the draws of clean samples.
    limit : split -> at most so many images of it, stratified by class; none: all.
    reference_backbone : whose shipped features make instance-dependent noise; needed by that type only.
    class_map : which named map of a data set asymmetric noise follows.
    maps : conditions whose features are also laid out in the plane, as (data set, condition), first seed.
    probe : optimisation of the linear probes; finetune : of full fine-tuning.
    description : one sentence for people.
    """

    name: str
    datasets: tuple[str, ...]
    backbones: tuple[str, ...]
    image_size: int
    conditions: tuple[Condition, ...]
    methods: tuple[TuningSpec, ...]
    seeds: tuple[int, ...]
    limit: tuple[tuple[str, int], ...] = ()
    reference_backbone: str = ""
    class_map: str = "default"
    maps: tuple[tuple[str, Condition], ...] = ()
    probe: Recipe = field(default_factory=Recipe)
    finetune: FinetuneRecipe = field(default_factory=FinetuneRecipe)
    description: str = ""

    def __post_init__(self) -> None:
        file_name("name", self.name)
        for key in ("datasets", "backbones", "conditions", "methods", "seeds"):
            values = getattr(self, key)
            if not values or len(set(values)) != len(values):
                raise ConfigError(f"{key} has {len(values)} entries: give at least one, and none twice.")
        labels = [method.label for method in self.methods]
        if len(set(labels)) != len(labels):
            raise ConfigError(f"methods have the labels {labels}: give each a label of its own.")
        for backbone in self.backbones:
            check_name("backbones", backbone, BACKBONES)
        if not 16 <= self.image_size <= 1024:
            raise ConfigError(
                f"image_size={self.image_size}: a whole number of pixels in 16..1024 is needed."
            )
        self._check_limit()
        for dataset in self.datasets:
            check_name("datasets", dataset, DATASETS)
            if DATASETS[dataset].kind == "features":
                raise ConfigError(
                    f"datasets: {dataset} holds features, not images; nothing can be fine-tuned."
                )
        self._check_conditions()

    def _check_limit(self) -> None:
        for split, count in self.limit:
            check_name("limit", split, SPLIT_NAMES)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ConfigError(f"limit.{split}={count!r}: a whole number of at least 1 is needed.")

    def _check_conditions(self) -> None:
        for condition in self.conditions:
            if condition.noise_type == "instance":
                if not self.reference_backbone:
                    raise ConfigError(
                        f"conditions has {condition.text!r}, but reference_backbone is empty: name the "
                        "backbone whose features make the noise, one that is not evaluated."
                    )
                check_name("reference_backbone", self.reference_backbone, BACKBONES)
            reasons = {name: condition.obstacle(DATASETS[name]) for name in self.datasets}
            if all(reasons.values()):
                said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
                raise ConfigError(f"conditions: no data set can have {condition.text!r} ({said}).")
            if condition.noise_type == "asymmetric":
                for name in self.datasets:
                    if DATASETS[name].class_maps:
                        check_name(f"class_map of {name}", self.class_map, DATASETS[name].class_maps)
        for name in self.datasets:
            if not self.conditions_of(name):
                raise ConfigError(f"datasets: {name} can have none of the conditions; leave it out.")
        for dataset, condition in self.maps:
            check_name("maps: data set", dataset, self.datasets)
            if condition not in self.conditions_of(dataset):
                raise ConfigError(
                    f"maps has [{dataset}, {condition.text}], which is none of its conditions: "
                    f"{', '.join(c.text for c in self.conditions_of(dataset))}."
                )

    def conditions_of(self, dataset: str) -> tuple[Condition, ...]:
        """Return the conditions that a data set can have, in order."""
        return tuple(c for c in self.conditions if not c.obstacle(DATASETS[dataset]))

    def left_out(self) -> list[tuple[str, Condition, str]]:
        """Return (data set, condition, reason) of what the grid lacks."""
        return [
            (dataset, condition, reason)
            for dataset in self.datasets
            for condition in self.conditions
            if (reason := condition.obstacle(DATASETS[dataset]))
        ]

    def runs(self) -> int:
        """Return the number of rows that the main table will have."""
        conditions = sum(len(self.conditions_of(dataset)) for dataset in self.datasets)
        return conditions * len(self.backbones) * len(self.methods) * len(self.seeds)


def load_finetune_config(path: str | Path | FinetuneConfig) -> FinetuneConfig:
    """Read a study of fine-tuning from YAML; unknown keys, wrong types and impossible values are errors.

    Raises
    ------
    ConfigError, UnknownNameError, NoisylibError
        Each names the file, the key, the value and what is allowed.
    """
    if isinstance(path, FinetuneConfig):
        return path
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("turn*.y*ml")) if path.parent.is_dir() else []
        raise ConfigError(f"no study at {path}. Studies of fine-tuning there: {', '.join(near) or 'none'}.")
    try:
        return parse_finetune_config(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    except NoisylibError as error:
        raise type(error)(f"{path}: {error}") from error


def parse_finetune_config(content: object) -> FinetuneConfig:
    """Build a study of fine-tuning from the mapping a YAML file holds."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"a study is a mapping of keys to values, not {type(content).__name__}.")
    for key in content:
        check_name("key", key, [f.name for f in fields(FinetuneConfig)])
    needed = ("name", "datasets", "backbones", "image_size", "conditions", "methods", "seeds")
    if missing := [key for key in needed if key not in content]:
        raise ConfigError(f"the study lacks {', '.join(missing)}.")
    return FinetuneConfig(**{key: _READERS[key](key, value) for key, value in content.items()})


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{key}: {value!r} is {type(value).__name__}, a text is needed.")
    return value


def _whole(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{key}: {value!r} is {type(value).__name__}, a whole number is needed.")
    return value


def _list(key: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise ConfigError(f"{key}={value!r}: a list is needed, for example {key}: [{value}].")
    return value


def _pair(key: str, value: object) -> tuple[str, Condition]:
    if not isinstance(value, list) or len(value) != 2:
        raise ConfigError(f"{key} entry {value!r}: write [data set, condition], as [pbc, symmetric 0.2].")
    return _text(key, value[0]), Condition.parse(value[1])


def _settings(key: str, value: object, kind: type) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}={value!r}: a mapping is needed, for example {key}: {{epochs: 5}}.")
    for name in value:
        check_name(f"{key} key", name, [f.name for f in fields(kind)])
    return kind(**value)


def _limit(key: str, value: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}={value!r}: a mapping is needed, for example {key}: {{train: 640}}.")
    return tuple((split, value[split]) for split in sorted(value, key=str))


_READERS = {
    "name": _text,
    "description": _text,
    "reference_backbone": _text,
    "class_map": _text,
    "image_size": _whole,
    "datasets": lambda key, value: tuple(_text(key, item) for item in _list(key, value)),
    "backbones": lambda key, value: tuple(_text(key, item) for item in _list(key, value)),
    "seeds": lambda key, value: tuple(_whole(key, item) for item in _list(key, value)),
    "conditions": lambda key, value: tuple(Condition.parse(item) for item in _list(key, value)),
    "methods": lambda key, value: tuple(TuningSpec.parse(item) for item in _list(key, value)),
    "maps": lambda key, value: tuple(_pair(key, item) for item in _list(key, value)),
    "limit": _limit,
    "probe": lambda key, value: _settings(key, value, Recipe),
    "finetune": lambda key, value: _settings(key, value, FinetuneRecipe),
}
