"""Where runs sit in the grid of seeds and runs per seed, and that they come back in order."""

from __future__ import annotations

import pytest
import torch

from noisylib.layout import RunLayout


def test_runs_are_grouped_by_seed_and_short_groups_filled_with_their_first() -> None:
    layout = RunLayout([7, 1, 7, 2, 7, 1])
    assert (layout.seeds, layout.runs_per_seed) == ([7, 1, 2], 3)
    assert layout.spread(torch.arange(6)).tolist() == [[0, 2, 4], [1, 5, 1], [3, 3, 3]]


def test_gather_reads_each_run_at_its_own_place() -> None:
    layout = RunLayout([7, 1, 7, 2, 7, 1])
    grid = torch.tensor([[10, 11, 12], [20, 21, -1], [30, -1, -1]])  # -1: filled up, never read
    assert layout.gather(grid).tolist() == [10, 20, 11, 30, 12, 21]


def test_apart_gives_every_run_a_group_of_its_own() -> None:
    layout = RunLayout([7, 1, 7, 2], apart=True)
    assert (layout.seeds, layout.runs_per_seed) == ([7, 1, 7, 2], 1)
    assert layout.spread(torch.arange(4)).tolist() == [[0], [1], [2], [3]]
    assert layout.gather(torch.tensor([[4], [5], [6], [7]])).tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("seeds", [[0], [3, 3, 3], [0, 1, 2], [5, 0, 5, 0, 9], [2, 2, 1, 0, 1, 2]])
def test_gather_undoes_spread(seeds: list[int], apart: bool) -> None:
    values = torch.randn((len(seeds), 2, 3), generator=torch.Generator().manual_seed(0))
    layout = RunLayout(seeds, apart=apart)
    spread = layout.spread(values)
    assert spread.shape == (len(layout.seeds), layout.runs_per_seed, 2, 3)
    assert torch.equal(layout.gather(spread), values)
