"""What the chapter on LP, FFT and TURN trains live, with an untrained network and few images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from noisylib.book.describe import lp_fft_turn as live
from noisylib.book.describe import lp_fft_turn_cost as cost
from noisylib.book.parameter_rules import check_values
from noisylib.book.turn_parameters import LpFftTurnParameters, TurnParameters
from noisylib.errors import ConfigError, NoisylibError, UnknownNameError
from noisylib.features.sized import tiny_backbone
from noisylib.finetuning.flops import forward_flops
from noisylib.study.finetune_methods import ROWS

FEW = LpFftTurnParameters(images=60, epochs=1, seeds=[3], methods=["lp-ce", "fft-gce", "turn"])


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone(size=8, patch=4, width=12, depth=1, heads=2)


def test_the_task_has_digits_that_the_backbone_does_not_know(backbone) -> None:
    task = live.make_task(FEW, backbone)
    assert task.pixels.class_names == ("5", "6", "7", "8", "9")
    assert task.pixels.sided
    assert (len(task.train), len(task.test)) == (60, 359)
    assert not set(task.train) & set(task.test)
    assert task.features.shape == (896, 12)
    # Of 12 in a class 7.2 stay and 1.2 go to each other class: 8 and 1.
    assert task.noise[3].realised_rate == pytest.approx(4 / 12)
    largest = live.make_task(replace(FEW, images=537), backbone)
    assert len(largest.train) == 537  # what the parameter says there is


@pytest.mark.parametrize("noise_type", ["asymmetric", "pairflip", "instance"])
def test_every_kind_of_noise_can_be_made(backbone, noise_type) -> None:
    task = live.make_task(replace(FEW, noise_type=noise_type, noise_rate=0.3), backbone)
    noise = task.noise[3]
    assert 0.1 < noise.realised_rate < 0.5
    if noise_type == "asymmetric":
        names = np.array(task.pixels.class_names)
        right = task.pixels.labels[task.train][noise.flipped]
        assert dict(zip(names[right], names[noise.y_noisy[noise.flipped]], strict=True)) == live.LOOK_ALIKES


def test_rows_are_one_per_method_and_seed_with_their_cost(backbone) -> None:
    params = replace(FEW, seeds=[3, 4])
    task = live.make_task(params, backbone)
    rows = live.train(task, params)
    assert list(rows["label"]) == ["LP-CE"] * 2 + ["FFT-GCE"] * 2 + ["TURN"] * 2
    assert list(rows["seed"]) == [3, 4] * 3
    assert rows[["accuracy", "balanced_accuracy"]].stack().between(0, 1).all()
    first = rows.groupby("label").first()
    body, head = forward_flops(backbone, 8), 2 * 12 * 5
    assert first.at["FFT-GCE", "images_seen"] == 60
    assert first.at["FFT-GCE", "flops"] == 3 * 60 * (body + head)
    assert first.at["FFT-GCE", "seconds_features"] == 0 < first.at["TURN", "seconds_features"]
    # 50 epochs of a head, and the features it needs.
    assert first.at["LP-CE", "flops"] == 60 * body + 3 * 50 * 60 * head
    drawn = first.at["TURN", "images_seen"]
    assert drawn % 5 == 0
    assert first.at["TURN", "flops"] == 3 * drawn * (body + head) + 60 * body + (3 * 20 * 60 + 60) * head
    assert cost.turn_parts(rows)["seconds_tuning"] > 0
    source = live.live_source(rows, 1, [3, 4])
    assert source.startswith("Digits 5 to 9, 60 training and 359 test images of 8 pixels, symmetric 40")
    assert source.endswith("noise, 1 epoch of fine-tuning, seeds 3, 4.")


def test_a_seed_gives_the_same_scores_alone_and_among_others(backbone) -> None:
    methods = ["lp-gce", "fft-ce"]
    both = replace(FEW, seeds=[3, 4], methods=methods)
    rows = live.train(live.make_task(both, backbone), both)
    alone = replace(FEW, seeds=[4], methods=methods)
    one = live.train(live.make_task(alone, backbone), alone)
    assert rows[rows["seed"] == 4]["accuracy"].to_list() == one["accuracy"].to_list()


def test_parameters_are_checked() -> None:
    assert set(LpFftTurnParameters().methods) == set(ROWS)
    with pytest.raises(UnknownNameError, match="fft-elr"):
        check_values(LpFftTurnParameters, {"methods": ["fft-erl"]})
    for values, message in (
        ({"methods": []}, r"methods=\[\] is empty"),
        ({"methods": ["turn", "turn"]}, "has one twice"),
        ({"seeds": [0, 0]}, "has one twice"),
        ({"noise_rate": 0}, "leaves no wrong label"),
        ({"images": 538}, "images=538"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_values(LpFftTurnParameters, values)
    with pytest.raises(NoisylibError, match=r"noise_rate=0\.8"):
        check_values(TurnParameters, {"noise_rate": 0.8})
    with pytest.raises(NoisylibError, match=r"noise_rate=0\.5"):
        check_values(TurnParameters, {"noise_rate": 0.5, "noise_type": "asymmetric"})
    assert check_values(TurnParameters, {"noise_rate": 0.7}).noise_rate == 0.7
