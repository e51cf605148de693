"""GPUs on paper: times and costs by hand from stated peaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from noisylib.analysis import machines
from noisylib.analysis.machines import GPUS, Gpu
from noisylib.analysis.workload import Workload
from noisylib.errors import NoisylibError

WORK = Workload(runs=10, samples=40, n_features=8, n_classes=2, batch_size=4, epochs=50)
QUICK = Gpu("made", {"float32": 1e-6, "tf32": 8e-6}, 1e6, 1e9, "none")  # 10^6 operations and bytes a second


def test_bytes_of_a_step_by_hand() -> None:
    # 1,042 parameters; 10 * 64 * 4 hidden values and 8 * 8 of logits; 3 * 4 * 16 numbers for ten heads.
    assert machines.step_bytes(WORK, 4) == pytest.approx(40 * 1042 + 4 * (2560 + 64 + 19.2))


def test_a_run_takes_the_later_of_arithmetic_and_memory() -> None:
    moved = 500 * machines.step_bytes(WORK, 4) / 1e6
    assert machines.run_seconds(WORK, QUICK, 1.0) == pytest.approx(moved)
    assert machines.waits_for_memory(WORK, QUICK, 1.0)
    assert not machines.waits_for_memory(WORK, QUICK, 0.1)
    slow = 500 * 17664 / (0.1 * 1e6)
    assert slow > moved
    assert machines.run_seconds(WORK, QUICK, 0.1) == pytest.approx(slow)
    assert machines.run_seconds(WORK, QUICK, 0.01, "tf32") == pytest.approx(10 * slow / 8)


def test_heads_that_hide_their_launches() -> None:
    heads = machines.filling_heads(WORK, QUICK, 0.1, launches=20, launch=0.5)
    assert heads == pytest.approx(20 * 0.5 / (17664 / 1e5))
    few = machines.filling_heads(replace(WORK, samples=2), QUICK, 0.1, launches=20, launch=0.5)
    assert few == pytest.approx(20 * 0.5 / ((2 * 2880 + 6144) / 1e5)), "a batch is no longer than the data"


@pytest.mark.parametrize("fraction", [0, 1.5, -0.1])
def test_fractions_are_fractions(fraction: float) -> None:
    with pytest.raises(NoisylibError, match=rf"fraction={fraction}"):
        machines.run_seconds(WORK, QUICK, fraction)


def test_every_gpu_has_a_source_and_both_precisions() -> None:
    for gpu in GPUS.values():
        assert set(gpu.tflops) == set(machines.PRECISIONS)
        assert gpu.tflops["float32"] < gpu.tflops["tf32"]
        assert "data sheet" in gpu.source
        # Today's accelerators do 10 to 110 operations of float32 for each byte of their memory's bandwidth.
        assert 5 < gpu.tflops["float32"] * 1e12 / gpu.bandwidth < 120
