"""The rule that comes with the package, in words: what it looks at, and a tree that people can follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from noisylib.analysis.selector_rules import CAUTIOUS_NEIGHBOURS, NEIGHBOURS
from noisylib.book.describe.advice import title
from noisylib.book.describe.advice_extension import learned
from noisylib.descriptors import DESCRIPTORS

if TYPE_CHECKING:
    import pandas as pd

    from noisylib.analysis.selector import Selector

_HOW = {
    "fixed": "it ignores the descriptors and names the method of least mean regret, families alike",
    "tree": "it asks up to three questions, in the tree below",
    "minimax": f"of the {CAUTIOUS_NEIGHBOURS} archived conditions whose descriptors are closest, it takes "
    "the method whose highest regret there is lowest",
    "nearest": f"it takes the method of least mean regret in the {NEIGHBOURS} archived conditions whose "
    "descriptors are closest",
    "ridge": "it expects the regret of each method by a penalised linear regression on the descriptors",
}


def rule_text(selector: Selector, metric: str) -> str:
    """Return what the shipped rules for one metric do, of all methods and of those that train fast."""
    said: dict[str, str] = {}
    for pool, methods in (("all", "among all methods"), ("cheap", "among those that train fast")):
        rule = selector.content["rules"][metric][pool]
        text = f"{_HOW[rule['rule']]}, learned from {learned(rule['rows'])}."
        said[text] = f"{said[text]} and {methods}" if text in said else methods
    return " ".join(f"{methods[0].upper()}{methods[1:]}, {text}" for text, methods in said.items())


def fixed_text(selector: Selector, metric: str) -> str:
    """Return which method a rule that ignores the descriptors always names; empty if none does."""
    always = {}
    for pool in ("all", "cheap"):
        rule = selector.content["rules"][metric][pool]
        if rule["rule"] == "fixed":
            methods = None if pool == "all" else _cheap(selector)
            always[pool] = selector.expected(_middle(selector), metric=metric, methods=methods)[0].candidate
    if not always:
        return ""
    fast = " among those that train fast"
    named = [f"**{title(key)}**" + (fast if pool == "cheap" else "") for pool, key in always.items()]
    if len(set(always.values())) < len(always):
        named = [f"**{title(always['all'])}**, with or without the slow ones"]
    return (
        f"So it always names {' and '.join(named)}: of the rules that were compared, none with descriptors "
        "was clearly better on unseen kinds of images, and then the simplest is used. The tree is what the "
        "descriptors would say."
    )


def _cheap(selector: Selector) -> list[str]:
    from noisylib.analysis.selector_fit import pool_candidates

    return list(pool_candidates(selector.candidates, "cheap"))


def _middle(selector: Selector) -> dict[str, float]:
    """Return the descriptors of an archived condition; a fixed rule gives the same for any."""
    row = selector.content["conditions"][0]
    known = dict(zip(selector.inputs, row["inputs"], strict=True))
    return {"held_out_accuracy": 0.5, "held_out_balanced_accuracy": 0.5} | known


def tree_text(selector: Selector, metric: str, pool: str) -> str:
    """Return the tree as a nested list: questions, then what to choose and what that lost there.

    Where all replies to a question lead to one choice, the question is left out.
    """
    lines: list[str] = []
    _walk(selector.content["rules"][metric][pool]["tree"], "", 0, lines)
    return "\n".join(lines)


def _walk(node: Mapping[str, Any], reply: str, depth: int, lines: list[str]) -> None:
    pad, under = "  " * depth, _leaves(node)
    if len({leaf["choose"] for leaf in under}) == 1:
        count = sum(leaf["conditions"] for leaf in under)
        ends = sorted({f"{100 * leaf['regret']:.1f}" for leaf in under}, key=float)
        mean = ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"
        plural = "" if count == 1 else "s"
        lines.append(
            f"{pad}- {reply}**{title(under[0]['choose'])}** (mean regret {mean} points in {count} "
            f"condition{plural})"
        )
        return
    lines.append(f"{pad}- {reply}`{node['input']}` at most {node['at_most']:.3g}?")
    _walk(node["yes"], "yes: ", depth + 1, lines)
    _walk(node["no"], "no: ", depth + 1, lines)


def _leaves(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [node] if "choose" in node else [*_leaves(node["yes"]), *_leaves(node["no"])]


def meaning(name: str) -> str:
    """Return what a descriptor is; one that is told by the one before it is told whole."""
    text, names = DESCRIPTORS[name], list(DESCRIPTORS)
    if text.startswith("the same"):
        rest = text.removeprefix("the same").lstrip(", ")
        return f"{DESCRIPTORS[names[names.index(name) - 1]]}, {rest}"
    return text


def inputs_table(selector: Selector) -> pd.DataFrame:
    """Return what the rules may look at, with the range over the archived conditions."""
    import pandas as pd

    rows = [row["inputs"] for row in selector.content["conditions"]]
    return pd.DataFrame(
        {
            "Descriptor": f"`{name}`",
            "Meaning": meaning(name),
            "Lowest": f"{min(row[i] for row in rows):.3g}",
            "Highest": f"{max(row[i] for row in rows):.3g}",
        }
        for i, name in enumerate(selector.inputs)
    )


def made_from(selector: Selector, digests: Mapping[str, str]) -> str:
    """Return whether the shipped rule is from the tables of this page, a sentence."""
    stated = selector.content.get("made_from", {})
    if dict(stated) == dict(digests):
        return "It was made from the tables that this page shows."
    changed = ", ".join(sorted(name for name in digests if stated.get(name) != digests[name]))
    return f"It was made from other tables than this page shows ({changed}): `noisylib refit` makes it anew."
