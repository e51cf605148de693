"""Cards of the ranked methods: complete, in one shape, and true to the registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from noisylib.book.describe import methods as describe_methods
from noisylib.errors import UnknownNameError
from noisylib.methods import METHODS, RANKED


def test_every_ranked_method_has_a_card_and_no_other() -> None:
    assert tuple(describe_methods.CARDS) == RANKED


def test_facts_come_from_the_registry() -> None:
    assert describe_methods.told("ce") == "nothing of the noise"
    assert describe_methods.told("dividemix") == "the noise rate and the type of the noise"
    assert describe_methods.needs("ce").replace("\xa0", " ") == "1 head"
    needs = describe_methods.needs("dividemix").replace("\xa0", " ")
    assert needs.startswith("2 heads, a memory of every sample, 2 views of every sample. Defaults: ")
    assert "`threshold` 0.5" in needs
    assert "`unlabelled_weight` by rule" in needs
    assert describe_methods.needs("cufit").replace("\xa0", " ") == "1 linear head and 2 heads"


@pytest.mark.parametrize("name", RANKED)
def test_cards_have_one_shape(name: str) -> None:
    text = describe_methods.card(name).data
    parts = ["$$", r"\begin{aligned}", r"\end{aligned}", "$$", "**Assumes** ", "**Is told** ", "**Needs** "]
    places, start = [], 0
    for part in parts:
        places.append(text.index(part, start))
        start = places[-1] + 1
    assert places == sorted(places)
    assert f"{{cite:p}}`{METHODS[name].citation}`" in text[: places[0]]
    adapted = bool(describe_methods.CARDS[name].adapted)
    assert (":::{admonition} Our adaptation to frozen features" in text) == adapted
    assert ("**On frozen features** it is unchanged." in text) != adapted


@pytest.mark.parametrize("name", RANKED)
def test_formulas_are_balanced(name: str) -> None:
    card = describe_methods.CARDS[name]
    for text in (card.idea, card.objective, card.assumes, card.adapted):
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert text.count("$") % 2 == 0
        assert "\t" not in text
        assert "\f" not in text, "a backslash of LaTeX was read as an escape"
    lines = card.objective.split(r"\\")
    assert len(lines) == 1 or all(line.count("&") == 1 for line in lines), "aligned at one place each"


def test_heads_on_other_backbone_parts_are_marked_as_ours() -> None:
    """What the registry names "-head", estimates otherwise or needs views for cannot be unchanged."""
    for name in RANKED:
        if METHODS[name].n_views or METHODS[name].title.endswith("-head"):
            assert describe_methods.CARDS[name].adapted, name


def test_the_chapter_has_a_section_for_each_in_order(root: Path) -> None:
    cells = json.loads((root / "notebooks/methods.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    at = [sources.index(f"### {METHODS[name].title}") for name in RANKED]
    assert at == sorted(at)
    for name, place in zip(RANKED, at, strict=True):
        figure, card = cells[place + 1], cells[place + 2]
        assert f'predicted["{name}"][0, 0], facts["{name}_title"]' in "".join(figure["source"])
        assert f'describe_methods.card("{name}")' in "".join(card["source"])
        assert figure["metadata"]["mystnb"]["figure"]["name"] == f"fig-{name}"
        assert card["metadata"]["mystnb"] == {"markdown_format": "myst"}


def test_an_unknown_card_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'cufit'"):
        describe_methods.card("cufitt")
