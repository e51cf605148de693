"""What every loader returns, the tables, and options that do not apply."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from noisylib.data import ImageSet, dataset_info, load_images, load_table, split_counts
from noisylib.errors import NoisylibError, UnknownNameError


def make(labels=(0, 1), split=(0, 2), groups=None, human=None, keys=("a", "b")):
    return ImageSet(
        info=dataset_info("breastmnist"),
        keys=keys,
        labels=np.array(labels, np.int64),
        split=np.array(split, np.uint8),
        groups=groups,
        open=lambda i: None,
        human_labels=human or {},
    )


def test_image_set_accepts_good_arrays():
    assert len(make(groups=np.array([0, 0]), human={"web": np.array([-1, 0])})) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": (0, 2)}, r"labels range from 0 to 2, must be within 0\.\.1"),
        ({"labels": (-1, 0)}, "labels range from -1"),
        ({"labels": (0, 1, 1)}, r"labels has shape \(3,\), must be \(2,\)"),
        ({"split": (0, 3)}, "split holds 3, allowed: 0, 1, 2"),
        ({"groups": np.array([1])}, r"groups has shape \(1,\)"),
        ({"human": {"web": np.array([1])}}, r"web has shape \(1,\)"),
        ({"keys": (), "labels": (), "split": ()}, "no images"),
    ],
)
def test_image_set_refuses_bad_arrays(change, message):
    with pytest.raises(NoisylibError, match=message):
        make(**change)


def test_options_that_do_not_apply(tmp_path):
    with pytest.raises(UnknownNameError, match=r"Did you mean 'ham10000'"):
        load_images("ham1000", tmp_path)
    with pytest.raises(NoisylibError, match=r"size=64 does not apply to pbc"):
        load_images("pbc", tmp_path, size=64)
    with pytest.raises(NoisylibError, match=r"download=True does not apply to ham10000: fetch it by hand"):
        load_images("ham10000", tmp_path, download=True)
    with pytest.raises(NoisylibError, match=r"use load_table\('digits'\)"):
        load_images("digits", tmp_path)
    with pytest.raises(NoisylibError, match=r"use load_images\('pbc', root\)"):
        load_table("pbc")


@pytest.mark.parametrize(("name", "width"), [("breast_cancer", 30), ("digits", 64)])
def test_tables(name, width):
    table = load_table(name)
    assert table.X.shape == (len(table.labels), width)
    assert table.X.dtype == np.float32
    counts = split_counts(table.labels, table.split, table.info.n_classes)
    assert tuple(counts.sum(0).tolist()) == table.info.class_counts
    assert counts[1] / counts.sum(0) == pytest.approx(0.2, abs=0.01)
    assert counts[2] / counts.sum(0) == pytest.approx(0.2, abs=0.01)


def test_table_class_names_are_scikit_learns():
    from sklearn.datasets import load_breast_cancer, load_digits

    assert dataset_info("breast_cancer").classes == tuple(load_breast_cancer().target_names)
    assert dataset_info("digits").classes == tuple(str(name) for name in load_digits().target_names)


def test_import_is_light():
    heavy = ("PIL", "sklearn", "pandas", "medmnist", "torchvision", "timm", "matplotlib")
    code = f"import sys, noisylib.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
