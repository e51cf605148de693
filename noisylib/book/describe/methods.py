"""What the book says of each ranked method, in one shape: idea, objective, assumption, adaptation.

What the registry knows (networks, memory, views, what it is told, defaults) is read from there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from noisylib.book.tables import networks
from noisylib.errors import check_name

if TYPE_CHECKING:
    from IPython.display import Markdown


@dataclass(frozen=True)
class Card:
    r"""The text of one method.

    Attributes
    ----------
    idea : what it does, in a sentence or two.
    objective : LaTeX of the loss of one batch, lines separated by ``\\``.
    assumes : what must hold for it to help, and what breaks it.
    adapted : what we changed for frozen features; empty if nothing.
    """

    idea: str
    objective: str
    assumes: str
    adapted: str = ""


CARDS: dict[str, Card] = {
    "ce": Card(
        "Every label counts the same and is believed. This is the yardstick for the others.",
        r"\mathcal L = \frac1B \sum_i \ell_i",
        "That wrong labels are too few, or too unsystematic, to be worth learning. A head that has "
        "capacity and time to spare learns them as well.",
    ),
    "ls": Card(
        "A share $a$ of each label is spread evenly over all classes, so that no label is believed in full.",
        r"\mathcal L &= -\frac1B \sum_i \sum_c q_{ic} \log p_{ic} \\"
        r"q_i &= (1-a)\, e_{\tilde y_i} + \tfrac aK",
        "That one dose of doubt suits every sample and every class. This describes a low rate of symmetric "
        "noise; it does not describe flips that always go the same way.",
    ),
    "gce": Card(
        "A sample pulls the less, the less probable its label seems: the gradient is that of cross "
        r"entropy, times $p_{i,\tilde y_i}^q$. With $q \to 0$ it is cross entropy, with $q = 1$ half the "
        "absolute error.",
        r"\mathcal L = \frac1B \sum_i \frac{1 - p_{i, \tilde y_i}^{\,q}}{q}",
        "That what the network finds improbable is wrong. Rare and difficult samples are improbable too, "
        "and at the start, when all classes are, it learns slowly.",
    ),
    "forward": Card(
        "The errors are modelled: the prediction is passed through the matrix of class flips $T$ before it "
        "is compared with the label, so that $p_i$ itself can stay clean.",
        r"\mathcal L = -\frac1B \sum_i \log \sum_c p_{ic}\, T_{c, \tilde y_i}",
        "That errors depend on the class alone, and that for every class some sample surely belongs to it, "
        "from which its row of $T$ can be read. A wrong $T$ can cost more than none.",
        "$T$ is read from out-of-fold predictions of a linear probe. The paper reads a network's predictions "
        "on the samples it was trained on; on frozen features these come near to the labels themselves, and "
        "$T$ near to the identity.",
    ),
    "coteaching": Card(
        "Two networks see the same batch, and each trains on the samples that the other finds easiest. How "
        r"many are set aside grows over the first epochs up to the noise rate $\eta$.",
        r"\mathcal L(f_1) &= \frac1n \sum_{i \in S(f_2)} \ell_i(f_1) \\"
        r"\mathcal L(f_2) &= \frac1n \sum_{i \in S(f_1)} \ell_i(f_2) \\"
        r"S(f) &= \text{the $n$ samples of smallest } \ell_i(f) \\"
        r"n &= \lfloor (1 - R_t)\, B \rfloor, \quad R_t \nearrow \eta",
        "That a small loss means a right label, that the rate is known, and that the two networks err "
        "in different ways. The samples of a rare class have large losses, and are the first to go.",
        "The two networks are two heads on one frozen backbone, and only their start tells them apart. The "
        "first one answers.",
    ),
    "dividemix": Card(
        "Each epoch, a mixture of two Gaussians divides the losses of each network. The other network keeps "
        r"the labels of the low part $\mathcal X$, replaces those of the rest $\mathcal U$ by guesses, and "
        "trains on convex mixtures of samples from both, whose targets $q_i$ are mixed alike.",
        r"\mathcal L &= \mathcal L_x + \lambda_u \mathcal L_u + \mathcal L_{\text{pen}} \\"
        r"\mathcal L_x &= -\frac1{|\mathcal X|} \sum_{i \in \mathcal X} \sum_c q_{ic} \log p_{ic} \\"
        r"\mathcal L_u &= \frac1{K |\mathcal U|} \sum_{i \in \mathcal U} \lVert q_i - p_i \rVert^2 \\"
        r"\mathcal L_{\text{pen}} &= \sum_c \frac1K \log \frac{1/K}{\bar p_c}",
        "That right and wrong labels form two humps of loss, that classes are of like size (the penalty "
        r"holds the mean prediction $\bar p$ near uniform), and that mixing features keeps their meaning.",
        "There is no image to augment: a view is a cached augmented feature, or the feature with a tenth of "
        "its dimensions dropped. The division marks the samples of the batch all methods share, instead of "
        "drawing as many from either part, and both networks step together.",
    ),
    "elr": Card(
        "Each sample keeps a running average $t_i$ of its predictions, and is rewarded for agreeing with it. "
        "What was predicted early therefore resists a label that contradicts it.",
        r"\mathcal L &= \frac1B \sum_i \bigl[\ell_i + \lambda \log(1 - \langle p_i, t_i \rangle)\bigr] \\"
        r"t_i &\leftarrow \beta\, t_i + (1 - \beta)\, p_i",
        "That early predictions are right: the pattern is learned before the exceptions. A sample of a "
        "rare class, taken for a frequent one early on, is held there as well.",
    ),
    "cufit": Card(
        "A linear probe (LPM) learns from everything. A first adapter (IAM) learns where the probe agrees "
        "with the label, a second one (LAM) where the first agrees; the second answers.",
        r"\mathcal L_{\text{LPM}} &= \frac1B \sum_i \ell_i \\"
        r"\mathcal L_{\text{IAM}} &= \frac1B \sum_i [\hat y_i^{\text{LPM}} = \tilde y_i]\, \ell_i \\"
        r"\mathcal L_{\text{LAM}} &= \frac1B \sum_i [\hat y_i^{\text{IAM}} = \tilde y_i]\, \ell_i",
        "That the probe is too weak to memorise and good enough to judge, so that where it agrees the label "
        "is right. Where most labels of a class are wrong, it agrees with the wrong ones.",
        "In the paper the adapters sit inside the blocks of the backbone. Cached features leave no room for "
        "that: both are heads on the same frozen vector, hence the name.",
    ),
}


def card(name: str) -> Markdown:
    """Return the card of a ranked method: idea, objective, assumption, facts and what is ours."""
    from IPython.display import Markdown

    from noisylib.methods import METHODS

    text = CARDS[check_name("method with a card", name, CARDS)]
    formula = rf"\begin{{aligned}} {text.objective} \end{{aligned}}"
    lines = [f"{text.idea} {{cite:p}}`{METHODS[name].citation}`", "", "$$", formula, "$$", ""]
    lines += [f"**Assumes** {_lower(text.assumes)}", "", f"**Is told** {told(name)}.", ""]
    lines += [f"**Needs** {needs(name)}.", ""]
    if text.adapted:
        lines += [":::{admonition} Our adaptation to frozen features", ":class: important", "", text.adapted]
        lines += [":::"]
    else:
        lines += ["**On frozen features** it is unchanged."]
    return Markdown("\n".join(lines))


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def told(name: str) -> str:
    """Return what a method is told of the noise, in words."""
    from noisylib.methods import METHODS, TOLD

    facts = [TOLD[fact] for fact in METHODS[name]().told]
    return " and ".join(facts) if facts else "nothing of the noise"


def needs(name: str) -> str:
    """Return networks, memory, views and default settings of a method, in words, from the registry."""
    from noisylib.methods import METHODS

    method = METHODS[name]()
    parts = [networks(method)]
    if method.keeps_state:
        parts.append("a memory of every sample")
    if method.n_views:
        parts.append(f"{method.n_views} views of every sample")
    settings = [
        f"`{f.name}` " + ("by rule" if f.default is None else f"{f.default:.3g}") for f in fields(method)
    ]
    return ", ".join(parts) + (f". Defaults: {', '.join(settings)}" if settings else "")
