"""Two processes train what one trains: the same steps, the same draws, the same memory of each sample."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tinytuning import K, made_images, noisy, recipe, tiny

from noisylib.finetuning import FineTuned, finetune

N = 21  # in batches of 8: the last one, of 5, leaves some of its eight parts empty
METHODS = ("ce", "elr", "turn")


def train(name: str, folder: Path | None = None) -> FineTuned:
    pixels = made_images(N, 6)
    rows = pixels.rows("train")
    options = recipe(epochs=2, batch_size=8, accumulate=4, precision="float64", augment=True, clip=0.5)
    y = noisy(pixels.labels[rows])
    more = {"recipe": options, "device": "cpu", "checkpoint": folder, "checkpoint_every": 1}
    return finetune(pixels, rows, y, tiny(), n_classes=K, method=name, **more)


def report(tuned: FineTuned) -> dict[str, torch.Tensor]:
    """Weights and history as tensors."""
    found = {name: value.detach().clone() for name, value in tuned.classifier.state_dict().items()}
    for name in ("loss", "agreement", "gradient_norm", "steps", "images"):
        found[name] = torch.tensor([float(getattr(record, name)) for record in tuned.history])
    if tuned.history[0].selection is not None:
        found["drawn"] = torch.tensor(np.array([record.selection.drawn for record in tuned.history]))
        found["losses"] = torch.tensor(np.array([record.selection.losses for record in tuned.history]))
    return found


def in_two_processes(folder: Path) -> None:
    """Become two processes that are told of each other as a launcher does it, and write what both find."""
    child = os.fork()  # after the imports, which take longer than the trainings
    rank = int(child == 0)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "true",
    }
    for name in METHODS:
        save_file(report(train(name, folder / "checkpoints")), folder / f"{name}-{rank}.safetensors")
    torch.distributed.destroy_process_group()
    if child:
        assert os.waitpid(child, 0)[1] == 0


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where two processes have written what they trained."""
    folder, tests = tmp_path_factory.mktemp("two"), Path(__file__).resolve().parents[1]
    code = "import pathlib, sys, accelerate, timm.data, test_distributed as test\n"
    code += "test.in_two_processes(pathlib.Path(sys.argv[1]))"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [str(tests.parent), str(tests), str(tests / "finetuning")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_train_what_one_trains(of_two: Path, name: str) -> None:
    expected = report(train(name))
    first, second = (load_file(of_two / f"{name}-{rank}.safetensors") for rank in range(2))
    assert set(first) == set(second) == set(expected)
    for key, value in expected.items():
        assert torch.equal(first[key], second[key]), f"{key} differs between the processes"
        torch.testing.assert_close(first[key], value, rtol=0, atol=1e-9)


def test_two_processes_leave_no_checkpoint(of_two: Path) -> None:
    assert not (of_two / "checkpoints").exists()
