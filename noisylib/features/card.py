"""The data card of a folder of banks.

Sample counts, file sizes, checksums and scores in it are counted or measured when it is written. What
the official images are, and how ours differ from them, is text: `DIFFERS` below and the catalogue.

``python -m noisylib.features.card data/banks`` writes ``README.md`` and ``probes.json``;
``--random FOLDER`` adds the probes of banks that an untrained network made (``--random-weights``).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noisylib.data import DATASETS, split_counts
from noisylib.features.backbones import BACKBONES
from noisylib.features.bank import SPLITS, FeatureBank, list_banks
from noisylib.features.probe import PROBES_FILE, BankProbes, Probes, linear_probe, stored_probe
from noisylib.files import write_aside

DIFFERS = {
    "ham10000": (
        "The official images are 600 x 450 pixels; these were reduced beforehand. The split keeps all images "
        "of a lesion on one side. This is not DermaMNIST: pixels and split differ."
    ),
    "pbc": (
        "The official images are 360 x 363 pixels; these were cut to the central 200 pixels, reduced to 112 "
        "and stored as JPEG beforehand, and byte-identical duplicates are dropped. This is not BloodMNIST: "
        "pixels and split differ."
    ),
}
SAME = "Official images and official split; enlarged by the backbone's own preprocessing."

INTRO = """\
# Feature banks: data card

<!-- Written by `python -m noisylib.features.card data/banks`; edit noisylib/features/card.py instead. -->

Each file holds the features of one public medical image set under one frozen backbone: no image, and no
network weight. `noisylib.features.load_bank(dataset, backbone)` checks and returns one; `float16` on disk,
`float32` in use. Features are derived from the images and keep their licence{restricted}.
"""

PROJECTION_TEXT = """\
"From" and "variance kept": the features are projections of so many original ones, and keep so much of the
variance of the z-scored training split. `projection` in the bank and `noisylib.features.reduce.project`
bring the features of a new image to the same form.
"""

PROBE_TEXT = """\
## Sanity figure: a linear probe on clean labels

Logistic regression (scikit-learn) on z-scored train features, scored on the test split, in percent. The
inverse penalty C is the one with the least log loss in five-fold cross-validation on the train split.
Balanced: mean recall of the classes. AUC: one class against the rest, mean of the classes.
Random: the same architecture with seeded random weights, the same images, split and probe; a dash where
that was not measured.
"""


def render_card(
    banks: Sequence[FeatureBank],
    probes: Probes,
    sizes: Mapping[str, int],
    bibliography: str,
) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    banks : in the order of the card.
    probes : scores, "random" only where measured.
    sizes : file name -> bytes.
    bibliography : text of ``references.bib``, for the attributions.
    """
    # Banks that share a data set or a backbone say the same about it, which is then said once.
    parts = [
        _intro(banks),
        _files(banks, sizes),
        "## Sources, licences, and what differs from the official sets\n",
        *dict.fromkeys(_source(bank, bibliography) for bank in banks),
        _commands(banks),
        *dict.fromkeys(map(_backbone, sorted(banks, key=lambda bank: bank.meta.backbone))),
        _probes(banks, probes),
        "## Samples per class and split\n",
        *dict.fromkeys(map(_counts, banks)),
    ]
    return "\n".join(parts).rstrip() + "\n"


def write_card(folder: Path, random: Path | None = None) -> None:
    """Write ``README.md`` and ``probes.json`` of `folder`, after measuring banks that have no score there.

    A score counts for exactly the features it was measured on. Delete ``probes.json`` to measure all again.
    """
    paths = [path for _, _, path in list_banks(folder)]
    stored = folder / PROBES_FILE
    old = json.loads(stored.read_text()) if stored.exists() else {}
    probes = {}
    for path in paths:
        bank = FeatureBank.load(path)
        rows: BankProbes = {
            "checksum": bank.checksum,
            "pretrained": stored_probe(bank, folder) or linear_probe(bank),
        }
        untrained = random / f"{path.stem}_random.safetensors" if random else None
        if untrained is not None and untrained.exists():
            rows["random"] = linear_probe(FeatureBank.load(untrained))
        elif "random" in old.get(path.name, {}):
            rows["random"] = old[path.name]["random"]
        probes[path.name] = rows
    texts = {stored: json.dumps(probes, indent=1) + "\n", folder / "README.md": card_of(folder, probes)}
    for path, text in texts.items():
        with write_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")


def card_of(folder: Path, probes: Probes) -> str:
    """Return the card of the banks in `folder`, a ``data/banks`` of a checkout, with given probe scores."""
    paths = [path for _, _, path in list_banks(folder)]
    bibliography = (folder.resolve().parents[1] / "book" / "references.bib").read_text(encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in paths}
    return render_card([FeatureBank.load(path) for path in paths], probes, sizes, bibliography)


def attribution(bibliography: str, key: str) -> str:
    """Return "Authors. Title. Where, year. doi" of one BibTeX entry, without its markup."""
    entry = re.search(rf"@\w+{{{re.escape(key)},(.*?)\n}}", bibliography, flags=re.DOTALL)
    if entry is None:
        raise KeyError(f"no entry {key!r} in the bibliography")
    fields = dict(re.findall(r"^\s*(\w+)\s*=\s*{(.*)},?\s*$", entry[1], flags=re.MULTILINE))
    accents = {r"{\'a}": "á", r"{\'e}": "é", r"{\'u}": "ú", r"{\'A}": "Á"}
    for code, letter in accents.items():
        fields = {name: value.replace(code, letter) for name, value in fields.items()}
    plain = {name: re.sub(r"[{}]", "", value) for name, value in fields.items()}
    authors = plain["author"].split(" and ")
    names = " and ".join(authors) if len(authors) < 3 else f"{authors[0]} et al."
    where = plain.get("journal") or plain.get("booktitle") or plain.get("eprint", "")
    doi = f" https://doi.org/{plain['doi']}" if "doi" in plain else ""
    return f"{names.rstrip('.')}. {plain['title']}. {where}, {plain['year']}.{doi}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], texts: int = 1) -> str:
    # The first columns are text, the others are numbers.
    lines = [head, ["---"] * texts + ["---:"] * (len(head) - texts), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def _file(bank: FeatureBank) -> str:
    return f"{bank.meta.dataset}-{bank.meta.backbone}.safetensors"


def _title(bank: FeatureBank) -> str:
    return DATASETS[bank.meta.dataset].title


def _backbone_title(bank: FeatureBank) -> str:
    name = bank.meta.backbone
    return BACKBONES[name].title if name in BACKBONES else name


def _intro(banks: Sequence[FeatureBank]) -> str:
    restricted = dict.fromkeys(_title(bank) for bank in banks if "NC" in bank.meta.licence)
    words = f":\n**banks of {', '.join(restricted)} are for non-commercial use only**" if restricted else ""
    return INTRO.format(restricted=words)


def _files(banks: Sequence[FeatureBank], sizes: Mapping[str, int]) -> str:
    rows = [
        (
            f"`{_file(bank)}`",
            f"{bank.n_samples:,}",
            bank.n_features,
            *_reduction(bank),
            bank.n_classes,
            f"{sizes[_file(bank)] / 1e6:.2f}",
            f"`{bank.checksum[:12]}`",
        )
        for bank in banks
    ]
    head = ("file", "samples N", "width D", "from", "variance kept", "classes K", "MB", "content checksum")
    total = f"Together {sum(sizes[_file(bank)] for bank in banks) / 1e6:.1f} MB.\n"
    views = [line for bank in banks for line in (*_views(bank), *_human(bank))]
    reduced = [PROJECTION_TEXT] if any(bank.projection is not None for bank in banks) else []
    return "\n".join([f"## Files\n\n{_table(head, rows)}", *reduced, *views, total])


def _reduction(bank: FeatureBank) -> tuple[object, str]:
    """Return how many features there were, and which share of their variance is kept."""
    if bank.projection is None:
        return "-", "-"
    kept = bank.meta.preprocessing.get("reduction", {}).get("explained_variance")
    return bank.projection.shape[1], "-" if kept is None else f"{_percent(kept)} %"


def _source(bank: FeatureBank, bibliography: str) -> str:
    info, meta = DATASETS[bank.meta.dataset], bank.meta
    return "\n".join(
        [
            f"**{info.title}** ({info.modality})\n",
            f"- Source: <{meta.source}>. Licence of images and features: {meta.licence}.",
            f"- Attribution: {attribution(bibliography, meta.citation)}",
            f"- {meta.notes} {bank.n_samples:,} of {sum(info.counts.values()):,} images.",
            f"- {DIFFERS.get(meta.dataset, SAME)}",
            "",
        ]
    )


def _views(bank: FeatureBank) -> list[str]:
    if bank.views is None:
        return []
    text = f"`{_file(bank)}` also holds {len(bank.views)} augmented views of each training image"
    recipe = bank.meta.preprocessing.get("view_recipe")
    if recipe is None:
        return [f"{text}.\n"]
    low, high = (f"{100 * share:g}" for share in recipe["crop_area"])
    narrow, wide = (f"{ratio:g}" for ratio in recipe["crop_ratio"])
    flip = f"{100 * recipe['horizontal_flip']:g}"
    return [
        f"{text}: random crops of {low} to {high} % of the area, {narrow} to {wide} times as wide as high, "
        f"resized to the input; {flip} % are mirrored left to right.\n"
    ]


def _human(bank: FeatureBank) -> list[str]:
    if not bank.human_labels:
        return []
    y = bank.part("train")[1]
    rates = [
        f"{name} ({_percent((bank.training_human_labels(name) != y).mean())} % wrong)"
        for name in bank.human_labels
    ]
    return [
        f"`{_file(bank)}` also holds labels that people gave to the training images: {', '.join(rates)}.\n"
    ]


def _commands(banks: Sequence[FeatureBank]) -> str:
    commands = "\n".join(bank.meta.command for bank in banks)
    return (
        "## How they were made\n\n`DATA` is the folder that holds the official files of each set.\n\n"
        f"```\n{commands}\n```\n"
    )


def _backbone(bank: FeatureBank) -> str:
    name, row = bank.meta.backbone, bank.meta.preprocessing
    known = BACKBONES.get(name)
    note = f" ({row['weights_note'].rstrip('.')})" if row.get("weights_note") else ""
    size = " x ".join(map(str, row["input_size"][1:]))
    # The library's name of a model ends in the name of the weights it would take itself.
    architecture, pretraining = row["model"].partition(".")[0], known.pretraining if known else "unknown"
    lines = [
        f"**{_backbone_title(bank)}** (`{name}`)\n",
        f"- Network: `{architecture}`, weights `{row['weights']}`{note}.",
        f"- Weights: {pretraining}; licence {known.licence if known else 'see their source'}; "
        f"SHA-256 `{row['weights_sha256']}`.",
        f"- Feature: {row['output']}; forward pass in {row['precision']}.",
        f"- Every image: RGB, {_resize(row, size)}, mean {_numbers(row['mean'])}, standard deviation "
        f"{_numbers(row['std'])}.",
    ]
    if "reduction" in row:
        reduction = row["reduction"]
        lines.append(f"- Then {reduction['n_components']} {reduction['method']}.")
    return "\n".join([*lines, ""])


def _resize(row: Mapping[str, Any], size: str) -> str:
    if row["crop_mode"] == "squash":
        return f"{row['interpolation']} resize of the whole image to {size}, whatever its shape"
    crop = f"{row['crop_mode']} crop to {size} (crop fraction {row['crop_pct']:g})"
    return f"{row['interpolation']} resize and {crop}"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _probes(banks: Sequence[FeatureBank], probes: Probes) -> str:
    rows, idle = [], []
    for bank in banks:
        trained, random = (probes[_file(bank)].get(kind) for kind in ("pretrained", "random"))
        if random and trained["auc"] <= random["auc"]:
            idle.append(f"{_title(bank)} under {_backbone_title(bank)}")
        scores = [
            _percent(row[name]) if row else "-"
            for row in (trained, random)
            for name in ("accuracy", "balanced_accuracy", "auc")
        ]
        chance = (_percent(trained["majority_accuracy"]), _percent(1 / bank.n_classes))
        rows.append((_title(bank), _backbone_title(bank), f"{trained['C']:g}", *scores, *chance))
    columns = ("accuracy", "balanced", "AUC")
    randoms = (f"random: {name}" for name in columns)
    head = ("dataset", "backbone", "C", *columns, *randoms, "majority class", "1 / K")
    verdict = (
        f"**No gain from pretraining: {', '.join(idle)}.** Random weights reach the same AUC or a "
        "higher one; read results there as those of weak features.\n"
    )
    return "\n".join([PROBE_TEXT, _table(head, rows, texts=2), *([verdict] if idle else [])])


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _counts(bank: FeatureBank) -> str:
    counts = split_counts(bank.labels, bank.split, bank.n_classes)
    rows = [(name, *counts[:, k], counts[:, k].sum()) for k, name in enumerate(bank.class_names)]
    rows.append(("all", *counts.sum(axis=1), counts.sum()))
    return f"### {_title(bank)}\n\n{_table(('class', *SPLITS, 'all'), rows)}"


def main() -> None:
    """Write the card of the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--random", type=Path, help="folder with the banks of the untrained network")
    args = parser.parse_args()
    write_card(args.folder, args.random)


if __name__ == "__main__":
    main()
