"""One row for every dataset: classes in a fixed order, official counts, licence, class maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from noisylib.data import classmaps as maps
from noisylib.errors import NoisylibError, check_name

MEDMNIST_URL = "https://zenodo.org/records/10519652"
OFFICIAL_SPLIT = "Official train, validation and test splits, unchanged."


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a dataset before any of its files is opened.

    Attributes
    ----------
    name, title
        Short name used in configurations, and the name to print.
    kind
        Layout, hence loader: medmnist, ham10000, isic2019, folders, cifar, filelist or features.
    classes
        Class names; a label is an index into this tuple.
    counts
        Official number of samples per split, or ``{"all": n}`` where no split is official.
    class_counts
        Official number of samples per class over all splits; None where it is not published.
    licence, citation, url
        Licence of the data, BibTeX key in ``book/references.bib``, where the data comes from.
    files
        What is expected under the data root.
    modality
        What kind of picture it is.
    class_maps
        Asymmetric noise by class name; "default" is the one used unless another is asked for.
    splits
        How the train, validation and test parts are made, in one sentence.
    notes
        What a user of this set should know.
    """

    name: str
    title: str
    kind: str
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    class_counts: tuple[int, ...] | None
    licence: str
    citation: str
    url: str
    files: tuple[str, ...]
    modality: str
    class_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    splits: str = OFFICIAL_SPLIT
    notes: str = ""

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.classes)

    def map_indices(self, name: str = "default", classes: Sequence[str] | None = None) -> dict[int, int]:
        """Return the class map called `name` as {true label: the label it is mistaken for}.

        Labels are positions in `classes`, by default this set's own order.

        Raises
        ------
        UnknownNameError
            `name` is none of this set's maps.
        NoisylibError
            This set has no map, because its own labels are noisy already.
        """
        if not self.class_maps:
            raise NoisylibError(
                f"dataset={self.name!r} has no class map for asymmetric noise. Use noise_type 'symmetric' or "
                "'pairflip', or pass your own class_map={true label: wrong label}."
            )
        chosen = self.class_maps[check_name("class_map", name, self.class_maps)]
        index = {label: i for i, label in enumerate(self.classes if classes is None else classes)}
        absent = sorted({*chosen, *chosen.values()} - set(index))
        if absent:
            raise NoisylibError(
                f"class map {name!r} of {self.name} speaks of {', '.join(absent)}, which are not among "
                f"the classes {', '.join(index)}: use the catalogue's names, or pass your own class_map."
            )
        return {index[source]: index[target] for source, target in chosen.items()}


def _medmnist(
    name: str,
    title: str,
    classes: tuple[str, ...],
    counts: tuple[int, int, int],
    class_counts: tuple[int, ...] | None,
    modality: str,
    class_maps: Mapping[str, Mapping[str, str]],
    licence: str = "CC BY 4.0",
    notes: str = "",
) -> DatasetInfo:
    """Return the row of a MedMNIST set; all of them share host, layout and citation."""
    return DatasetInfo(
        name=name,
        title=title,
        kind="medmnist",
        classes=classes,
        counts=dict(zip(("train", "val", "test"), counts, strict=True)),
        class_counts=class_counts,
        licence=licence,
        citation="yang2023medmnist",
        url=MEDMNIST_URL,
        files=(f"{name}.npz (or {name}_64.npz, {name}_128.npz, {name}_224.npz)",),
        modality=modality,
        class_maps=class_maps,
        notes=notes,
    )


def _cifar(
    n_classes: int, classes: tuple[str, ...], class_maps: Mapping[str, Mapping[str, str]], human: str
) -> DatasetInfo:
    """Return the row of CIFAR-10 or CIFAR-100."""
    folder = {10: "cifar-10-batches-py/", 100: "cifar-100-python/"}[n_classes]
    return DatasetInfo(
        name=f"cifar{n_classes}",
        title=f"CIFAR-{n_classes}",
        kind="cifar",
        classes=classes,
        counts={"train": 50_000, "test": 10_000},
        class_counts=(60_000 // n_classes,) * n_classes,
        licence="none stated; human labels (CIFAR-N) CC BY-NC 4.0",
        citation="krizhevsky2009learning",
        url="https://www.cs.toronto.edu/~kriz/cifar.html, human labels from https://noisylabels.com",
        files=(folder, f"CIFAR-{n_classes}_human.pt (optional)"),
        modality="natural photographs, 32x32",
        class_maps=class_maps,
        notes=f"Human labels (CIFAR-{n_classes}N, wei2022learning): {human}.",
    )


_GROUPED = "No official split with public labels: lesion-disjoint, stratified 80/20 train/test."

_ROWS = (
    DatasetInfo(
        name="isic2019",
        title="ISIC 2019",
        kind="isic2019",
        classes=maps.ISIC2019_CLASSES,
        counts={"all": 25_331},
        class_counts=(4522, 12875, 3323, 867, 2624, 239, 253, 628),
        licence="CC BY-NC 4.0",
        citation="combalia2019bcn20000",
        url="https://challenge.isic-archive.com/data/#2019",
        files=(
            "ISIC_2019_Training_GroundTruth.csv",
            "ISIC_2019_Training_Metadata.csv (optional: lesion ids)",
            "ISIC_2019_Training_Input/*.jpg (or images/*.jpg)",
        ),
        modality="dermatoscopy",
        class_maps=maps.ISIC2019_MAPS,
        splits=_GROUPED,
        notes="Contains the HAM10000 images. The UNK column is empty in the training set and dropped. Images "
        "without a lesion id count as a lesion each.",
    ),
    DatasetInfo(
        name="ham10000",
        title="HAM10000",
        kind="ham10000",
        classes=maps.SKIN_CLASSES,
        counts={"all": 10_015},
        class_counts=(327, 514, 1099, 115, 1113, 6705, 142),
        licence="CC BY-NC 4.0",
        citation="tschandl2018ham10000",
        url="https://doi.org/10.7910/DVN/DBW86T",
        files=("HAM10000_metadata.csv", "images/*.jpg (or HAM10000_images_part_1/*.jpg, ..._part_2/*.jpg)"),
        modality="dermatoscopy",
        class_maps=maps.SKIN_MAPS,
        splits=_GROUPED,
        notes="7,470 lesions, up to six images each. Part of ISIC 2019; the source of DermaMNIST.",
    ),
    _medmnist(
        "bloodmnist", "BloodMNIST", maps.BLOOD_CLASSES, (11959, 1712, 3421),
        (1218, 3117, 1551, 2895, 1214, 1420, 3329, 2348), "blood cell microscopy",
        {"default": maps.BLOOD_MAP},
        notes="ig: immature granulocytes (myelocytes, metamyelocytes and promyelocytes).",
    ),
    _medmnist(
        "pathmnist", "PathMNIST", maps.PATH_CLASSES, (89996, 10004, 7180),
        (11745, 11413, 11851, 12191, 9931, 14128, 9504, 10867, 15550), "colon pathology",
        {"default": maps.PATH_MAP}, notes="The test split comes from another clinical centre.",
    ),
    _medmnist(
        "organcmnist", "OrganCMNIST", maps.ORGAN_CLASSES, (12975, 2392, 8216), None, "abdominal CT, coronal",
        {"default": maps.ORGAN_MAP},
    ),
    _medmnist(
        "dermamnist", "DermaMNIST", maps.SKIN_CLASSES, (7007, 1003, 2005),
        (327, 514, 1099, 115, 1113, 6705, 142), "dermatoscopy", maps.SKIN_MAPS, licence="CC BY-NC 4.0",
        notes="HAM10000 images. The official split is by image: images of one lesion are in train and test.",
    ),
    _medmnist(
        "breastmnist", "BreastMNIST", ("malignant", "normal, benign"), (546, 78, 156), (210, 570),
        "breast ultrasound", {"default": {"malignant": "normal, benign"}},
        notes="With two classes a two-way map is symmetric noise, so the map is one way: a missed finding.",
    ),
    _medmnist(
        "pneumoniamnist", "PneumoniaMNIST", ("normal", "pneumonia"), (4708, 524, 624), (1583, 4273),
        "paediatric chest X-ray", {"default": {"pneumonia": "normal"}},
        notes="With two classes a two-way map is symmetric noise, so the map is one way: a missed finding.",
    ),
    _medmnist(
        "retinamnist", "RetinaMNIST", maps.RETINA_CLASSES, (1080, 120, 400), (714, 186, 326, 282, 92),
        "fundus photography", {"default": maps.RETINA_MAP}, notes="Ordinal grades of diabetic retinopathy.",
    ),
    DatasetInfo(
        name="pbc",
        title="PBC blood cells",
        kind="folders",
        classes=maps.BLOOD_CLASSES,
        counts={"all": 17_092},
        class_counts=(1218, 3117, 1551, 2895, 1214, 1420, 3329, 2348),
        licence="CC BY 4.0",
        citation="acevedo2020pbc",
        url="https://doi.org/10.17632/snkd93bnjr.1",
        files=tuple(f"{name}/*.jpg" for name in maps.BLOOD_CLASSES),
        modality="blood cell microscopy",
        class_maps={"default": maps.BLOOD_MAP},
        splits="No official split: byte-identical files are reduced to one (all of them dropped where their "
        "labels differ), then stratified 80/20 train/test.",
        notes="The source of BloodMNIST. ig: immature granulocytes (myelo-, metamyelo- and promyelocytes).",
    ),
    _cifar(10, maps.CIFAR10_CLASSES, {"default": maps.CIFAR10_MAP}, "aggregate, random1-3 and worst"),
    _cifar(100, maps.CIFAR100_CLASSES, maps.CIFAR100_MAPS, "fine"),
    DatasetInfo(
        name="clothing1m",
        title="Clothing1M",
        kind="filelist",
        classes=maps.CLOTHING1M_CLASSES,
        counts={"train": 1_000_000, "val": 14_313, "test": 10_526},
        class_counts=None,
        licence="non-commercial research, on request from the authors",
        citation="xiao2015learning",
        url="https://github.com/Cysu/noisy_label",
        files=(
            "noisy_train_key_list.txt", "clean_val_key_list.txt", "clean_test_key_list.txt",
            "noisy_label_kv.txt", "clean_label_kv.txt", "images/",
        ),
        modality="web photographs of clothes",
        notes="Training labels are web labels, wrong in large part; validation and test labels are checked.",
    ),
    DatasetInfo(
        name="webvision",
        title="WebVision (mini)",
        kind="filelist",
        classes=maps.WEBVISION_CLASSES,
        counts={"train": 65_944, "test": 2_500},
        class_counts=None,
        licence="non-commercial research; images belong to their owners",
        citation="li2017webvision",
        url="https://data.vision.ee.ethz.ch/cvl/webvision/dataset2017.html",
        files=("info/train_filelist_google.txt", "info/val_filelist.txt", "google/", "val_images_256/"),
        modality="web photographs",
        splits="Google part of the first 50 classes for training, their official validation images as test.",
        notes="The mini benchmark on WebVision 1.0. Training labels are search queries, wrong in part.",
    ),
    DatasetInfo(
        name="breast_cancer",
        title="Breast cancer features",
        kind="features",
        classes=("malignant", "benign"),
        counts={"all": 569},
        class_counts=(212, 357),
        licence="CC BY 4.0",
        citation="street1993nuclear",
        url="https://archive.ics.uci.edu/dataset/17",
        files=(),
        modality="30 features of cell nuclei",
        class_maps={"default": {"malignant": "benign"}},
        splits="Stratified 60/20/20 train/val/test.",
        notes="Comes with scikit-learn; nothing to download. The map is one way: a missed finding.",
    ),
    DatasetInfo(
        name="digits",
        title="Digits",
        kind="features",
        classes=maps.DIGITS_CLASSES,
        counts={"all": 1797},
        class_counts=(178, 182, 177, 183, 181, 182, 181, 179, 174, 180),
        licence="CC BY 4.0",
        citation="alpaydin1998digits",
        url="https://archive.ics.uci.edu/dataset/80",
        files=(),
        modality="8x8 grey values of handwritten digits",
        class_maps={"default": maps.DIGITS_MAP},
        splits="Stratified 60/20/20 train/val/test.",
        notes="Comes with scikit-learn; nothing to download.",
    ),
)  # fmt: skip

DATASETS: dict[str, DatasetInfo] = {row.name: row for row in _ROWS}


def dataset_info(name: str) -> DatasetInfo:
    """Return the catalogue row of dataset `name`, or suggest the nearest name."""
    return DATASETS[check_name("dataset", name, DATASETS)]
