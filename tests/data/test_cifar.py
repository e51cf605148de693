"""CIFAR through torchvision, and human labels read without trusting their pickles."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
import torch
from torchvision import datasets

from noisylib.data import classmaps, dataset_info, load_images, read_human_labels
from noisylib.errors import MissingDataError, NoisylibError
from noisylib.files import file_digest


def write_cifar10(root, monkeypatch):
    """Write five batches of four images and a test batch of four, in the official layout."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    sums = {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        data = draw.integers(0, 256, (4, 3072), np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [0, 1, 2, 3]}))
        sums[name] = file_digest(folder / name, "md5")
    meta = {"label_names": list(dataset_info("cifar10").classes)}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    official = datasets.CIFAR10
    monkeypatch.setattr(official, "train_list", [[n, s] for n, s in sums.items() if n != "test_batch"])
    monkeypatch.setattr(official, "test_list", [["test_batch", sums["test_batch"]]])
    md5 = file_digest(folder / "batches.meta", "md5")
    monkeypatch.setattr(official, "meta", {**official.meta, "md5": md5})


def write_human(path, **labels):
    stored = {"clean_label": np.arange(20) % 4}
    for i, key in enumerate(
        ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label")
    ):
        stored[key] = (stored["clean_label"] + i) % 10
    torch.save({**stored, **labels}, path)


def test_cifar10_without_human_labels(tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch)
    images = load_images("cifar10", tmp_path)
    assert images.labels.tolist() == [0, 1, 2, 3] * 6
    assert images.split.tolist() == [0] * 20 + [2] * 4
    assert images.keys[19:21] == ("train/19", "test/0")
    assert images.human_labels == {}
    assert images.image(23).size == (32, 32)


@pytest.mark.parametrize("where", [".", "cifarN"])
def test_human_labels_cover_train_only(tmp_path, monkeypatch, where):
    write_cifar10(tmp_path, monkeypatch)
    (tmp_path / where).mkdir(exist_ok=True)
    write_human(tmp_path / where / "CIFAR-10_human.pt")
    human = load_images("cifar10", tmp_path).human_labels
    assert list(human) == ["aggregate", "random1", "random2", "random3", "worst"]
    assert human["random1"].tolist() == [1, 2, 3, 4] * 5 + [-1] * 4
    assert human["worst"].tolist() == [4, 5, 6, 7] * 5 + [-1] * 4


def test_human_labels_of_other_images_are_refused(tmp_path, monkeypatch):
    write_cifar10(tmp_path, monkeypatch)
    write_human(tmp_path / "CIFAR-10_human.pt", clean_label=np.arange(20) % 3)
    with pytest.raises(NoisylibError, match=r"not the training labels of CIFAR-10 in their order"):
        load_images("cifar10", tmp_path)


def test_absent_or_damaged_cifar(tmp_path, monkeypatch):
    with pytest.raises(MissingDataError, match=r"cifar-100-python/ \(download=True fetches it\).*toronto"):
        load_images("cifar100", tmp_path)
    write_cifar10(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"cut")
    with pytest.raises(MissingDataError, match=r"a complete cifar-10-batches-py/"):
        load_images("cifar10", tmp_path)


class Evil:
    """Leaves a file behind when an ordinary unpickler reads it."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


@pytest.mark.parametrize("container", [True, False])
def test_hostile_pickle_is_refused_and_not_run(tmp_path, container):
    path, target = tmp_path / "CIFAR-10_human.pt", tmp_path / "owned"
    payload = pickle.dumps({"clean_label": Evil(target)})
    if container:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", payload)
    else:
        path.write_bytes(payload)
    with pytest.raises(NoisylibError, match=r"asks for (_io|io)\.open, which no label file needs"):
        read_human_labels(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"clean_label": np.array(["a"])},
        {"clean_label": np.array([1, None], dtype=object)},
        {"clean_label": np.zeros((2, 2), np.int64)},
        [1, 2],
    ],
)
def test_other_content_is_refused(tmp_path, content):
    path = tmp_path / "labels.pt"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(NoisylibError, match=r"is not a CIFAR-N label file"):
        read_human_labels(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"clean_label": np.arange(100)})[:-30], "is not a CIFAR-N label file"),
        (b"", "is not a CIFAR-N label file"),
        (b"c_codecs\nencode\n(Vabc\nVutf-16\ntR.", "asks for the codec 'utf-16'"),
    ],
)
def test_damaged_file_is_refused(tmp_path, content, message):
    path = tmp_path / "labels.pt"
    path.write_bytes(content)
    with pytest.raises(NoisylibError, match=message):
        read_human_labels(path)


def test_real_cifar10n_noise_rates(shared_data):
    human = read_human_labels(shared_data / "cifarN" / "CIFAR-10_human.pt")
    clean = human.pop("clean_label")
    assert np.bincount(clean).tolist() == [5000] * 10
    rates = {key: float((labels != clean).mean()) for key, labels in human.items()}
    assert rates == pytest.approx(
        {
            "aggre_label": 0.0901,
            "random_label1": 0.172,
            "random_label2": 0.181,
            "random_label3": 0.176,
            "worse_label": 0.402,
        },
        abs=5e-4,
    )


def test_real_cifar100n_noise_rate_and_superclasses(shared_data):
    human = read_human_labels(shared_data / "cifarN" / "CIFAR-100_human.pt")
    clean = human["clean_label"]
    assert np.bincount(clean).tolist() == [500] * 100
    assert (human["noisy_label"] != clean).mean() == pytest.approx(0.402, abs=5e-4)
    groups = list(classmaps.CIFAR100_SUPERCLASSES.values())
    ours = [next(s for s, g in enumerate(groups) if name in g) for name in classmaps.CIFAR100_CLASSES]
    np.testing.assert_array_equal(np.array(ours)[clean], human["clean_coarse_label"])
