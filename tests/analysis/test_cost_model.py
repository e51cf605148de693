"""The cost model: every term by hand, and a made record whose predictions can be followed on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_record import START, made_record
from torch.utils.flop_counter import FlopCounterMode

from noisylib import parts, training
from noisylib.analysis import cost_model
from noisylib.analysis.workload import (
    CPU_STEP_BYTES,
    EVALUATION_ROWS,
    HEADS,
    LEAST_CPU_RUNS,
    Workload,
    run_flops,
    scoring_work,
    step_flops,
    step_work,
)
from noisylib.errors import MissingDataError, NoisylibError, UnknownNameError
from noisylib.heads import HEAD_KINDS, WIDTHS, HeadBank
from noisylib.methods import make_method
from noisylib.recipe import Recipe

# A step of a part may go through ten heads of 4 * (4 * 1,042 + 130 * 4) bytes, and not eleven.
SMALL = Workload(10, 40, 8, 2, batch_size=4, cache=10 * 18752)
# One full step of ten adapters in the made record: products, GELU, Adam, loss, gather and all else.
STEP = {
    "products": 10 * 17664e-9,
    "activation": 10 * 512 * 2e-9,
    "optimiser": 10 * 1042 * 3e-9,
    "loss": 10 * 8 * 5e-9,
    "gather": 64 * 7e-9,
    "fixed": 20 * START + 2e-4,
}


def test_sizes_are_those_of_the_heads() -> None:
    assert HEADS == WIDTHS
    assert set(HEADS) == set(HEAD_KINDS)
    assert training.EVALUATION_ROWS == EVALUATION_ROWS
    assert (parts.LEAST_CPU_RUNS, parts.CPU_STEP_BYTES) == (LEAST_CPU_RUNS, CPU_STEP_BYTES)
    for head in HEADS:
        bank = HeadBank(head, [0], 24, 5)
        work = Workload(1, 100, 24, 5, head=head)
        assert work.parameters == bank.flat.numel()
        assert work.inputs == bank.n_inputs
        assert step_flops(work, 32) == bank.step_flops(32)


def test_defaults_are_those_of_the_recipe() -> None:
    recipe, work = Recipe(), SMALL
    defaults = Workload(1, 1, 1, 1)
    assert (defaults.batch_size, defaults.epochs, defaults.score_epochs) == (
        recipe.batch_size,
        recipe.epochs,
        recipe.score_epochs,
    )
    assert work.hidden == 64


def test_scoring_counts_the_products_of_a_forward_pass() -> None:
    """Against the products that torch counts, and the one that it does not: baddbmm_ of the adapter."""
    for head in HEADS:
        bank = HeadBank(head, [0, 1], 24, 5, runs_per_seed=3)
        x = bank.prepare(torch.randn(16, 24))
        with FlopCounterMode(display=False) as counted:
            bank.forward(x)
        work = Workload(6, 100, 24, 5, head=head)
        in_place = 6 * 2 * 5 * 64 * 16 if head == "adapter" else 0
        assert scoring_work(work, 16)["products"] == counted.get_total_flops() + in_place


def test_work_of_a_step_by_hand() -> None:
    assert step_work(SMALL, 4) == {
        "products": 176640,
        "activation": 5120,
        "optimiser": 10420,
        "loss": 80,
        "gather": 64,
    }
    linear = step_work(replace(SMALL, head="linear"), 4)
    assert linear == {"products": 2560, "activation": 0, "optimiser": 180, "loss": 80, "gather": 32}
    # mlp, h = 256: 2 * 4 * (2 * 8 * 256 + 3 * 256 * 2) per head, and 8 * 256 + 256 + 2 * 256 + 2 parameters.
    mlp = step_work(replace(SMALL, head="mlp", runs=1), 4)
    assert (mlp["products"], mlp["optimiser"], mlp["gather"]) == (45056, 2818, 32)


def test_seeds_share_a_batch_and_parts_do_not() -> None:
    assert step_work(replace(SMALL, runs=21), 4)["gather"] == 3 * 64
    one_seed = replace(SMALL, runs=21, runs_per_seed=21)
    assert step_work(one_seed, 4)["gather"] == 3 * 64
    assert step_work(replace(one_seed, cache=None), 4)["gather"] == 64


@pytest.mark.parametrize("head", sorted(HEADS))
@pytest.mark.parametrize("shape", [(8, 2), (192, 7), (768, 10), (1536, 100)])
@pytest.mark.parametrize("runs_per_seed", [1, 5, 10, 25])
def test_parts_are_those_that_a_bank_is_trained_in(head: str, shape: tuple, runs_per_seed: int) -> None:
    D, K = shape
    work = Workload(50, 100, D, K, head=head, runs_per_seed=runs_per_seed)
    at_once = parts.runs_at_once(
        make_method("ce"), head, n_samples=100, n_features=D, n_classes=K, recipe=Recipe(),
        device=torch.device("cpu"),
    )  # fmt: skip
    assert work.heads_at_once == at_once
    seeds = [run // runs_per_seed for run in range(50)]
    split = parts.split_runs(seeds, at_once)
    assert work.parts == len(split)
    assert work.pieces == sum(len({seeds[run] for run in part}) for part in split)
    assert replace(work, cache=None).parts == 1


def test_the_last_batch_is_as_long_as_it_is() -> None:
    assert replace(SMALL, samples=43).batches() == [(10, 4), (1, 3)]
    assert SMALL.batches() == [(10, 4)]
    assert replace(SMALL, samples=3).batches() == [(1, 3)]
    # Per head 2 * rows * 1,440 and 6,144: ten full batches and one of three, fifty times.
    assert run_flops(replace(SMALL, samples=43)) == 50 * (10 * 17664 + 3 * 2880 + 6144)


def test_costs_are_read_from_single_operations() -> None:
    costs = cost_model.read_costs(made_record())
    expected = {"products": 1e-9, "activation": 2e-9, "optimiser": 3e-9, "loss": 5e-9, "gather": 7e-9}
    assert dict(costs.unit) == pytest.approx(expected)
    assert costs.fixed == pytest.approx(STEP["fixed"])
    assert (costs.bandwidth, costs.chunk) == (10e9, 0.25), "bandwidth of the largest working set"
    linear = cost_model.read_costs(made_record(), "linear")
    assert linear.fixed == pytest.approx(10 * START + 1e-4)
    assert dict(linear.unit) == pytest.approx({**expected, "activation": 0.0})
    assert cost_model.read_costs(made_record(), "mlp").measured_head == "adapter"


def test_a_step_and_an_epoch_by_hand() -> None:
    costs = cost_model.read_costs(made_record())
    assert costs.step_seconds(SMALL, 4) == pytest.approx(STEP)
    assert costs.epoch_seconds(SMALL) == pytest.approx({kind: 10 * s for kind, s in STEP.items()})
    half = costs.epoch_seconds(replace(SMALL, samples=42))  # and one batch of two
    assert half["fixed"] == pytest.approx(11 * STEP["fixed"])
    assert half["products"] == pytest.approx(10 * STEP["products"] + 10 * (2 * 2880 + 6144) * 1e-9)
    assert half["optimiser"] == pytest.approx(11 * STEP["optimiser"])
    assert half["loss"] == pytest.approx(10.5 * STEP["loss"])


def test_an_operation_that_only_begins_costs_nothing_more() -> None:
    record = made_record()
    gather = record["roofline.operations"][4]
    gather["seconds"] = START / 2  # shorter than the begin that was measured
    costs = cost_model.read_costs(record)
    assert costs.unit["gather"] == 0
    assert costs.fixed == pytest.approx(STEP["fixed"] - START / 2)


def test_parts_begin_their_operations_one_after_the_other() -> None:
    costs = cost_model.read_costs(made_record())
    assert costs.step_seconds(replace(SMALL, runs=21), 4)["fixed"] == pytest.approx(3 * STEP["fixed"])


def test_banks_that_were_timed_whole_are_checks() -> None:
    record = made_record()
    assert cost_model.bank_points(record) == []
    record["heads.seconds_per_head_epoch"] = {"bank": {"median": sum(STEP.values())}}
    record["heads.setting"] = {**record["scaling.setting"], "runs": 10}
    (point,) = cost_model.bank_points(record)
    # Ten steps of the ten heads against ten times a step that was measured.
    assert (point["axis"], point["value"]) == ("bank", "adapter")
    assert point["ratio"] == pytest.approx(1)


def test_a_bank_by_hand() -> None:
    work = replace(SMALL, epochs=3, score_epochs=2, test_samples=1034)
    seconds = cost_model.read_costs(made_record()).bank_seconds(work)
    for kind, each in STEP.items():
        assert seconds[kind] == pytest.approx(3 * 10 * each)
    # Blocks of 1,024 and 10 samples: 2 * rows * (8 * 66 + 128) and a folding of 2,048 operations per head and
    # block; 64 values of GELU and 2 logits per head and sample.
    products = 10 * (2 * 1034 * 656 + 2 * 2048) * 1e-9
    once = products + 10 * 64 * 1034 * 2e-9 + 10 * 2 * 1034 * 5e-9
    assert seconds["scoring"] == pytest.approx(2 * once)
    assert seconds["setup"] == pytest.approx(96 * (40 + 1034) * 8 / 10e9)
    assert seconds["chunk"] == 0.25


def test_a_study_is_its_chunks() -> None:
    costs, work = cost_model.read_costs(made_record()), replace(SMALL, runs=50, epochs=1, score_epochs=1)
    one = costs.bank_seconds(replace(work, runs=20))
    ten = costs.bank_seconds(replace(work, runs=10))
    whole = 2 * sum(one.values()) + sum(ten.values())
    assert costs.study_seconds(work, runs_per_chunk=20) == pytest.approx(whole)
    once = 3 * (0.25 + 96 * 40 * 8 / 10e9)
    assert costs.study_seconds(work, runs_per_chunk=20, effort=4) == pytest.approx(4 * (whole - once) + once)


def test_a_gpu_trains_all_runs_as_one() -> None:
    record = made_record()
    assert cost_model.cache_of(record) == CPU_STEP_BYTES
    gpu = {"machine": {"gpu": "made"}}
    assert cost_model.cache_of({**record, "measured": {"roofline": gpu}}) is None


def test_curves_are_set_beside_the_prediction() -> None:
    record = made_record()
    costs = cost_model.read_costs(record)
    points = {(p["axis"], p["value"]): p for p in cost_model.scaling_points(record, costs)}
    step = sum(STEP.values())
    assert points["R", 10]["predicted"] == pytest.approx(10 * step)
    # Two seeds in one part, which is small enough: all is twice as much, but what does not grow.
    assert points["R", 20]["predicted"] == pytest.approx(20 * step - 10 * STEP["fixed"])
    assert points["N", 80]["predicted"] == pytest.approx(20 * step)
    # D = 16: products 2 * 4 * (2 * 16 * 66 + 384) + 12,288, parameters 2,082, and a batch of 128 numbers.
    wide = 10 * 32256e-9 + STEP["activation"] + 10 * 2082 * 3e-9 + STEP["loss"] + 128 * 7e-9 + STEP["fixed"]
    assert points["D", 16]["predicted"] == pytest.approx(10 * wide)
    # K = 4: products 2 * 4 * (2 * 8 * 68 + 768) + 12,288, parameters 1,060, 16 logits.
    many = (
        10 * 27136e-9
        + STEP["activation"]
        + 10 * 1060 * 3e-9
        + 2 * STEP["loss"]
        + STEP["gather"]
        + STEP["fixed"]
    )
    assert points["K", 4]["predicted"] == pytest.approx(10 * many)
    assert points["K", 4]["ratio"] == pytest.approx(10 * many / 0.02)


def test_errors_are_ratios() -> None:
    points = [{"ratio": r} for r in (0.25, 1.0, 2.0, 2.0, 1.5)]
    assert cost_model.errors(points) == pytest.approx({"median": 1.5, "worst": 0.25, "off": 4})
    even = cost_model.errors([{"ratio": r} for r in (1.0, 4.0)])
    assert even["median"] == pytest.approx(2), "the middle of logarithms"


def test_effort_is_the_mean_over_methods() -> None:
    assert cost_model.effort(made_record(), ["ce", "gce", "dividemix"]) == pytest.approx(8 / 3)
    with pytest.raises(MissingDataError, match=r"no cost of elr.*--methods"):
        cost_model.effort(made_record(), ["ce", "elr"])


def test_what_the_record_lacks_is_named_with_the_command() -> None:
    record = made_record()
    for key in ("roofline.operations", "roofline.bandwidth", "roofline.setting"):
        with pytest.raises(MissingDataError, match=rf"lacks {key}.*benchmarks --roofline'"):
            cost_model.read_costs({**record, key: {}})
    with pytest.raises(MissingDataError, match=r"lacks scaling.curves.*--scaling'"):
        cost_model.scaling_points({**record, "scaling.curves": {}}, cost_model.read_costs(record))
    adapters = [op for op in record["roofline.operations"] if op["head"] == "adapter"]
    with pytest.raises(MissingDataError, match="no operation of a linear head"):
        cost_model.read_costs({**record, "roofline.operations": adapters}, "linear")
    setting = {"heads": {"adapter": 8}, "runs": 10, "batch_size": 4}
    with pytest.raises(MissingDataError, match="does not say n_classes"):
        cost_model.read_costs({**record, "roofline.setting": setting})
    without = {key: value for key, value in record.items() if not key.startswith("engine")}
    assert cost_model.read_costs(without).chunk == 0


def test_an_unknown_class_of_operations_is_an_error() -> None:
    record = made_record()
    record["roofline.operations"][0]["name"] = "product"
    with pytest.raises(UnknownNameError, match=r"'product' is unknown. Did you mean 'products'"):
        cost_model.read_costs(record)


def test_workloads_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="adaptor"):
        replace(SMALL, head="adaptor")
    with pytest.raises(NoisylibError, match="samples=0"):
        replace(SMALL, samples=0)
