"""Archived overlaps: cells, densities, what overlap goes with, and the words that turn with them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from noisylib.book.describe import overlap_archive as archive
from noisylib.book.describe import overlap_tables as tables
from noisylib.book.describe import overlap_text as words

EDGES = np.linspace(-1.0, 1.0, 3)  # two bins, of width 1, and two overflow cells
NOISES = [("symmetric", 0.2), ("asymmetric", 0.4)]
NBSP = "\N{NO-BREAK SPACE}"


def made_rows(overlap=lambda dataset, head, noise: 0.5) -> pd.DataFrame:
    """Two data sets x two heads x two noises x two seeds; the seeds are .1 apart, KDE is .02 lower."""
    rows = []
    for dataset in ("ham10000", "pneumoniamnist"):
        for head in ("linear", "mlp"):
            for noise_type, rate in NOISES:
                for seed in (0, 1):
                    value = overlap(dataset, head, noise_type) + 0.1 * (seed - 0.5)
                    shared = {"dataset": dataset, "backbone": "deit_tiny", "head": head, "seed": seed}
                    shared |= {"noise_type": noise_type, "noise_rate": rate, "auroc": 0.75}
                    shared |= {"test_error": value / 2, "test_balanced_error": value / 4}
                    shared |= {"equal_size": value - 0.2, "n_flipped": 40, "se": 0.05, "edges": EDGES}
                    shared |= {
                        "clean_counts": np.array([2, 4, 2, 2]),
                        "flipped_counts": np.array([0, 1, 4, 0]),
                    }
                    for sample, epoch in (("train", "last"), ("train", "best"), ("held_out", "")):
                        view = shared | {"sample": sample, "epoch": epoch}
                        rows.append(view | {"estimator": "histogram", "value": value, "corrected": value})
                        if epoch != "best":
                            rows.append(
                                view | {"estimator": "kde", "value": value - 0.02, "corrected": np.nan}
                            )
    return pd.DataFrame(rows)


def by_dataset(dataset, head, noise) -> float:
    return {"ham10000": 0.8, "pneumoniamnist": 0.4}[dataset]


def by_noise(dataset, head, noise) -> float:
    return {"symmetric": 0.3, "asymmetric": 0.7}[noise]


def test_cells_are_means_over_seeds_of_the_headline() -> None:
    cells = archive.cells(made_rows(by_dataset))
    assert len(cells) == 2 * 2 * 2 * 3
    cell = cells.iloc[0]
    assert (cell["dataset"], cell["view"], cell["seeds"]) == ("ham10000", "last", 2)
    assert cell["corrected"] == pytest.approx(0.8)
    # Seeds at .75 and .85 have variance .005, over two .0025; the bootstrap has .05 ** 2.
    assert cell["low"] == pytest.approx(0.8 - 1.959964 * np.sqrt(0.0025 + 0.0025))
    assert (cell["equal_size"], cell["test_error"]) == pytest.approx((0.6, 0.4))
    assert cell["ceiling"] == archive.ceiling(np.array([2, 4, 2, 2]), np.array([0, 1, 4, 0]))


def test_densities_are_shares_over_widths_averaged_over_rows() -> None:
    part = made_rows().iloc[:1]
    other = part.assign(edges=[2 * EDGES])  # the same counts in bins of width 2
    clean, flipped = archive.mean_density(part, np.array([-1.5, -0.5, 0.5, 1.5]))
    assert clean.tolist() == pytest.approx([0, 0.4, 0.2, 0])
    assert flipped.tolist() == pytest.approx([0, 0.2, 0.8, 0])
    clean, _ = archive.mean_density(pd.concat([part, other]), np.array([-1.5, -0.5, 2.5]))
    assert clean.tolist() == pytest.approx([0.1, 0.3, 0])


def test_variance_belongs_to_the_factor_that_moves_the_overlap() -> None:
    view = archive.cells(made_rows(by_dataset)).query("view == 'last'")
    shares = archive.factor_shares(view, "corrected")
    assert shares == pytest.approx({"dataset": 1, "backbone": 0, "head": 0, "noise": 0, "together": 0})
    # Data set +-1, head +-2, and their product +-1: variances 1, 4 and 1 of 6.
    values = [s + 2 * h + s * h for s in (-1, 1) for h in (-1, 1) for _ in NOISES]
    shares = archive.factor_shares(view.assign(corrected=values), "corrected")
    assert (shares["dataset"], shares["head"], shares["together"]) == pytest.approx((1 / 6, 4 / 6, 1 / 6))
    assert np.isnan(archive.factor_shares(view.assign(corrected=0.5), "corrected")["dataset"])


def test_rank_correlations_are_within_one_noise_too() -> None:
    view = archive.cells(made_rows(by_dataset)).query("view == 'last'")
    assert archive.rank_correlations(view, "test_error") == pytest.approx({"all": 1, "low": 1, "high": 1})
    turned = view.assign(test_error=np.where(view["noise_type"] == "symmetric", 1, -1) * view["corrected"])
    ranks = archive.rank_correlations(turned, "test_error")
    assert (ranks["low"], ranks["high"]) == pytest.approx((-1, 1))
    assert np.isnan(archive.rank_correlations(view.assign(test_error=0.5), "test_error")["all"])


def test_ranges_and_spreads() -> None:
    rows = made_rows(lambda dataset, head, noise: {"linear": 0.55, "mlp": 0.7}[head])
    cells = archive.cells(rows)
    spread = archive.range_frame(cells).set_index(["view", "head"])
    assert len(spread) == 6
    row = spread.loc[("last", "linear")]
    assert (row["cells"], row["inside"]) == (4, 4)
    assert (row["lowest"], row["median"], row["highest"]) == pytest.approx((0.55, 0.55, 0.55))
    assert spread.at[("held_out", "mlp"), "inside"] == 0
    assert archive.estimator_spread(rows) == pytest.approx(0.02)
    assert archive.choice_spread(cells).tolist() == pytest.approx([0.15] * 4)


def test_tables_show_percent_with_intervals() -> None:
    lower = archive.cells(made_rows(lambda dataset, head, noise: {"linear": 0.1, "mlp": 0.5}[head]))
    assert tables.cells_table(lower, ["pneumoniamnist"], "mlp")["Equal groups"].tolist() == ["30.0"] * 2
    cells = archive.cells(made_rows(by_dataset))
    table = tables.cells_table(cells, ["ham10000"], "mlp")
    assert len(table) == 2
    first = table.iloc[0]
    assert first["Data set"] == "HAM10000"
    assert first["Noise"] == f"symmetric 20{NBSP}%"
    assert first["In-sample, last epoch"] == f"80.0{NBSP}(66.1-93.9)"
    assert (first["Equal groups"], first["AUROC, last"], first["Test error"]) == ("60.0", "0.750", "40.0")
    heads = tables.heads_table(cells, "pneumoniamnist", "deit_tiny")
    assert heads["Head"].tolist() == ["linear", "linear", "mlp", "mlp"]
    assert heads["In-sample minus out-of-fold"].tolist() == ["+0.0"] * 4
    ranges = tables.range_table(archive.range_frame(cells))
    assert ranges.iloc[0].tolist() == ["In-sample, last epoch", "linear", 4, "40.0", "60.0", "80.0", 0]
    factors = tables.factors_table(archive.associations(cells))
    assert factors["Data set"].tolist() == ["100", "100"]
    assert factors["1 - accuracy, one noise"].tolist() == ["1.00 to 1.00"] * 2
    assert tables.span(np.nan, np.nan, np.nan) == "-"


def test_panels_are_those_of_one_data_set_head_and_view() -> None:
    rows = made_rows(by_dataset)
    panels, notes = words.grid(rows, archive.cells(rows), "pneumoniamnist", "mlp", "held_out")
    keys = [(f"Symmetric 20{NBSP}%", "DeiT-Ti"), (f"Asymmetric 40{NBSP}%", "DeiT-Ti")]
    assert list(panels) == keys
    assert notes[keys[0]].startswith(f"40.0{NBSP}(")
    points, clean, _ = panels[keys[0]]
    assert (points[0], points[-1]) == (-1, 1)
    assert clean[1] == pytest.approx(0.4)


def test_the_chosen_set_is_shown_if_it_is_there() -> None:
    rows = made_rows()
    keys = words.shown_keys(rows, "pneumoniamnist", "deit_tiny")
    assert (keys["dataset"], keys["sets"]) == ("pneumoniamnist", ["ham10000"])
    facts = words.archive_facts(rows, archive.cells(rows), keys)
    assert (facts["n_cells"], facts["shown_note"]) == (8, "")
    assert facts["design"] == "4 with the linear head, 2 seeds each; 4 with the mlp head, 2 seeds each"
    keys = words.shown_keys(rows, "mine", "raw")
    assert (keys["dataset"], keys["backbone"]) == ("ham10000", "deit_tiny")
    assert words.archive_facts(rows, archive.cells(rows), keys)["shown_note"] == " (mine is not in it.)"


def test_the_reading_of_errors_turns_with_the_numbers() -> None:
    def of(low: float, overlap) -> str:
        view = archive.cells(made_rows(overlap)).query("view == 'last'")
        shares = archive.factor_shares(view, "corrected")
        ranks = {"test_error": {"low": low}}
        return words.error_reading(archive.Association((), shares, ranks, archive.noise_shifts(view)))

    assert "mostly says how well" in of(0.7, by_dataset)
    assert "not that alone" in of(0.5, by_dataset)
    assert "differently" in of(0.4, by_dataset)
    assert f"The data set explains 100{NBSP}%" in of(0.7, by_dataset)
    assert f"The noise explains 100{NBSP}%" in of(0.7, by_noise)
    assert "no property of the features alone" not in of(0.7, by_dataset)


def test_the_kind_of_noise_is_compared_at_the_same_rate() -> None:
    rows = made_rows(by_noise)
    view = archive.cells(rows).query("view == 'last'")
    assert archive.noise_shifts(view) == {}  # no rate has both
    both = view.assign(noise_rate=0.4)
    assert archive.noise_shifts(both) == pytest.approx({0.4: 0.4})
    assert archive.noise_shifts(both[both["noise_type"] == "symmetric"]) == {}
    found = archive.associations(pd.concat([archive.cells(rows).assign(noise_rate=0.4)]))["last"]
    text = words.error_reading(found)
    assert f"by +40 points at 40{NBSP}% of wrong labels" in text
    assert "no property of the features alone" in text


def test_shares_are_those_of_heads_that_were_run_everywhere() -> None:
    cells = archive.cells(made_rows(lambda dataset, head, noise: {"linear": 0.3, "mlp": 0.7}[head]))
    found = archive.associations(cells)["last"]
    assert found.heads == ("linear", "mlp")
    assert found.shares["head"] == pytest.approx(1)
    part = cells[(cells["head"] == "linear") | (cells["dataset"] == "ham10000")]
    assert archive.associations(part)["last"].heads == ("linear",)


def test_heads_are_read_by_what_training_on_a_sample_changes() -> None:
    rows = made_rows()
    seen = (rows["epoch"] == "last") & (rows["head"] == "mlp")
    rows.loc[seen, "corrected"] += 0.125
    assert archive.head_gaps(archive.cells(rows)).to_dict() == pytest.approx({"linear": 0, "mlp": 0.125})
    text = words.heads_reading(archive.cells(rows))
    assert text.endswith("in points: +0.0 with the linear head, +12.5 with the mlp head.")


def made_estimates(last: float, best: float, held_out: float) -> pd.DataFrame:
    """Overlaps with intervals of +-.05, and AUROCs of .7, .8 and .75."""
    values = zip(archive.VIEWS, (last, best, held_out), (0.7, 0.8, 0.75), strict=True)
    return pd.DataFrame(
        {"view": view, "estimator": name, "value": x - 0.1, "corrected": x - 0.04 * (name == "ks")}
        | {"low": x - 0.05, "high": x + 0.05, "auroc": auroc, "ceiling": 0.9}
        for view, x, auroc in values
        for name in tables.ESTIMATOR_TITLES
    )


def test_views_are_compared_by_their_intervals() -> None:
    assert "pulled the groups together" in words.view_reading(made_estimates(0.8, 0.6, 0.78))
    assert "disagree" in words.view_reading(made_estimates(0.4, 0.6, 0.4))
    same = words.view_reading(made_estimates(0.5, 0.55, 0.45))
    assert same.count("cannot be told apart") == 2
    assert "by heart" in words.view_reading(made_estimates(0.8, 0.8, 0.6))
    assert "right labels were fitted more" in words.view_reading(made_estimates(0.5, 0.5, 0.7))


def test_the_table_of_views_has_both_best_accuracies() -> None:
    table = tables.view_table(made_estimates(0.8, 0.6, 0.4)).set_index("Measure")["In-sample, last epoch"]
    assert table.iloc[0] == f"80.0{NBSP}(75.0-85.0)"
    assert table.iloc[4:].tolist() == ["70.0", "90.0", "70.0", "62.0", "60.0"]  # 1 - .76/2 and 1 - .8/2
    assert words.panel_notes(made_estimates(0.8, 0.6, 0.4))["best"] == f"overlap 60.0{NBSP}(55.0-65.0) %"


def test_in_short_counts_what_lies_in_the_range_of_the_paper() -> None:
    rows = made_rows(lambda dataset, head, noise: {"linear": 0.55, "mlp": 0.7}[head])
    cells = archive.cells(rows)
    facts = words.archive_facts(rows, cells, words.shown_keys(rows, "ham10000", "deit_tiny"))
    facts |= words.view_facts(made_estimates(0.8, 0.6, 0.4)) | {"condition": "this,"}
    text = words.in_short(facts, archive.range_frame(cells), archive.associations(cells))
    assert f"Within 53 to 61{NBSP}%: in-sample, best epoch." in text
    assert f"55 to 70{NBSP}% out-of-fold (4 of 8 in that range)" in text
    assert "by 15 points in the median, more than the width" in text
    facts["choice_median"] = 8
    assert "no more than the width" in words.in_short(
        facts, archive.range_frame(cells), archive.associations(cells)
    )


def test_epochs_and_classes_in_words() -> None:
    epochs = pd.DataFrame(
        {"noise_type": "pairflip", "seed": 0, "epoch": e, "overlap": x, "auroc": a}
        for e, x, a in ((1, 0.5, 0.6), (2, 0.3, 0.8), (3, 0.4, 0.9))
    )
    text = words.epoch_reading(epochs, 0.2)
    assert (
        f"pair flip 20{NBSP}% noise the overlap is lowest after epoch 2, 30.0{NBSP}%, and 40.0{NBSP}%" in text
    )
    assert "highest after epoch 3, 0.900, and 0.900 after the last" in text
    classes = pd.DataFrame({"view": "last", "class": ["a", "b", "c"], "corrected": [0.5, np.nan, 0.7]})
    text = words.class_reading(classes)
    assert f"*c* overlap most, 70.0{NBSP}%, and those of *a* least, 50.0{NBSP}%" in text
    assert "are labelled *b*" in text


def test_captions_say_what_was_trained() -> None:
    meta = SimpleNamespace(dataset="ham10000")
    live = SimpleNamespace(
        bank=SimpleNamespace(meta=meta), noise_type="symmetric", recipe=SimpleNamespace(epochs=5),
        signals=SimpleNamespace(seeds=(0, 3)), other=("asymmetric", None, None),
    )  # fmt: skip
    source = words.live_source(live, "deit_tiny", "mlp", 0.2)
    noise = f"symmetric 20{NBSP}% noise"
    assert source == f"HAM10000, features of DeiT-Ti, mlp head, {noise}, 2 runs of 5 epochs, seeds 0, 3."
    assert words.other_source(live) == " Asymmetric noise: the same rate and seeds."
    live.other = None
    assert words.other_source(live) == ""
    assert words.condition_words(live, "deit_tiny", "mlp", 0.2).endswith(f"mlp head and {noise},")
