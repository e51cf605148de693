"""What every method costs beside cross entropy, all in one run.

A method trains a bank as a study does: whole seeds of some ten runs, half of the runs with
symmetric and half with asymmetric noise. All banks train side by side, an epoch of each in turn, so that
whatever else the machine does hits all alike. Ratios are taken within a round; medians are over the rounds.

Ten epochs stand for the fifty of a study: a warm-up of a tenth, a first phase of four tenths and the scoring
of the last fifth keep their share of them. What precedes the first epoch is timed by itself and in full:
out-of-fold probabilities with all their epochs, points drawn from fitted Gaussians. A run of fifty epochs is
then that once and the ten epochs five times. A method that trains nothing does all its work once.

Networks are those that a run holds: TURN trains one of its two at a time, and one of CUFIT's three is linear.
On the shipped bank the banks together take 2 GB.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from benchmarks.studybank import NOISE, SHIPPED, StudyBank, made_bank, shipped_bank
from benchmarks.workload import clock
from noisylib.errors import MissingDataError
from noisylib.methods import METHODS, RANKED, Method, TrainingFree, make_method
from noisylib.parts import LEAST_CPU_RUNS
from noisylib.recipe import Recipe
from noisylib.recorder import Recorder
from noisylib.training import BankInTraining

AIM = 6.0  # times cross entropy, per network and epoch: no ranked method should cost more


@dataclass(frozen=True)
class Setting:
    """What is timed.

    Attributes
    ----------
    made : size (N, D) of made data to train on; None for the shipped bank, or as much made data without it.
    seeds, runs_per_seed : of the study; a bank has as many whole seeds as a core trains at once.
    epochs : trained; they stand for `study_epochs`.
    """

    made: tuple[int, int] | None = None
    seeds: int = 3
    runs_per_seed: int = 10
    head: str = "adapter"
    epochs: int = 10
    study_epochs: int = Recipe().epochs
    rounds: int = 3

    @property
    def recipe(self) -> Recipe:
        """The default recipe with fewer epochs, of which the same share is scored."""
        scored = round(Recipe().score_epochs * self.epochs / Recipe().epochs)
        return Recipe(epochs=self.epochs, score_epochs=max(1, scored))

    def seeds_of(self, rule: Method, device: torch.device) -> int:
        """Return how many seeds a study trains in one bank."""
        if device.type != "cpu" or not rule.n_nets:
            return self.seeds
        return min(self.seeds, max(1, LEAST_CPU_RUNS // self.runs_per_seed))


QUICK = Setting(made=(300, 16), seeds=2, runs_per_seed=2, rounds=2)


@dataclass(frozen=True)
class Timing:
    """Seconds per run in one round: of what is done once, and of an epoch on average."""

    once: float
    epoch: float

    def run(self, epochs: int) -> float:
        """Return the seconds of a run of so many epochs."""
        return self.once + epochs * self.epoch


Round = dict[str, Timing]


class TimedBank:
    """A bank that trains as in `train_bank`, but epoch by epoch from outside, with the time each takes."""

    def __init__(self, rule: Method, bank: StudyBank, setting: Setting, device: torch.device) -> None:
        inputs = bank.inputs(rule, setting.seeds_of(rule, device), setting.runs_per_seed)
        self._runs, self._device, self._epochs = len(inputs.seeds), device, []
        start = clock(device)
        self._bank = BankInTraining(inputs, rule, setting.head, setting.recipe, device, torch.float32)
        self.recorder = Recorder(self._bank, bank.test[1], trace=False)
        self._trains = not isinstance(rule, TrainingFree)
        if not self._trains:
            self.recorder.vote(rule)
        self._once = clock(device) - start

    def train(self, epoch: int) -> None:
        """Train one epoch, and score if it is one of the last."""
        if not self._trains:
            return
        start = clock(self._device)
        self._bank.train_epoch(epoch, None)
        self.recorder.after_epoch(epoch)
        self._epochs.append(clock(self._device) - start)

    def timing(self) -> Timing:
        """Return what it took so far, per run."""
        epoch = statistics.fmean(self._epochs) if self._epochs else 0.0
        return Timing(self._once / self._runs, epoch / self._runs)


def one_round(rules: dict[str, Method], bank: StudyBank, setting: Setting, device: torch.device) -> Round:
    """Train every method once, in the order of `rules`, an epoch of each in turn."""
    banks = {name: TimedBank(rule, bank, setting, device) for name, rule in rules.items()}
    for epoch in range(setting.epochs):
        for timed in banks.values():
            timed.train(epoch)
    return {name: timed.timing() for name, timed in banks.items()}


def cost(rule: Method, timings: Sequence[Timing], ce: Sequence[Timing], epochs: int) -> dict[str, object]:
    """Return what `rule` costs beside cross entropy, of one timing of each per round.

    ``per_run`` is the ratio of whole runs, ``per_network_epoch`` that of an epoch of one network, None
    without networks; ``share_once`` is what is done once, as a share of a run.
    """
    runs = [timing.run(epochs) for timing in timings]
    ratios = [run / one.run(epochs) for run, one in zip(runs, ce, strict=True)]
    per_epoch = [timing.epoch / one.epoch for timing, one in zip(timings, ce, strict=True)]
    return {
        "title": rule.title,
        "ranked": rule.ranked,
        "networks": rule.n_nets,
        "per_run": statistics.median(ratios),
        "per_run_min": min(ratios),
        "per_run_max": max(ratios),
        "per_network_epoch": statistics.median(per_epoch) / rule.n_nets if rule.n_nets else None,
        "share_once": statistics.median(t.once / run for t, run in zip(timings, runs, strict=True)),
        "seconds_per_run": statistics.median(runs),
        "seconds_once": statistics.median(timing.once for timing in timings),
    }


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``."""
    return measure(QUICK if quick else Setting(), device)


def measure(setting: Setting, device: torch.device) -> dict[str, object]:
    """Return ratios to cross entropy and the setting, under keys that start with ``methods.``."""
    rules = {name: make_method(name) for name in METHODS}
    # What is imported or built on first use is no method's cost; and an error shows before minutes are spent.
    one_round(rules, made_bank(*QUICK.made), QUICK, device)
    bank, rounds, names = find_bank(setting), [], list(rules)
    for repeat in range(setting.rounds):
        turn = repeat * len(names) // setting.rounds
        order = names[turn:] + names[:turn]
        rounds.append(one_round({name: rules[name] for name in order}, bank, setting, device))
    ce = [timings["ce"] for timings in rounds]
    costs = {
        name: cost(rule, [timings[name] for timings in rounds], ce, setting.study_epochs)
        for name, rule in rules.items()
    }
    dearest = max(RANKED, key=lambda name: costs[name]["per_network_epoch"])
    return {
        "methods.dearest_ranked": dearest,
        "methods.dearest_ranked_per_network_epoch": costs[dearest]["per_network_epoch"],
        "methods.costs": costs,
        "methods.setting": {
            **asdict(setting),
            "features": bank.source,
            "n_samples": len(bank.train[1]),
            "n_features": bank.train[0].shape[1],
            "noise": NOISE,
            "runs_at_once": {
                n: setting.seeds_of(r, device) * setting.runs_per_seed for n, r in rules.items()
            },
        },
    }


def find_bank(setting: Setting) -> StudyBank:
    """Return the bank of the setting; made data of the same size where the shipped one is absent."""
    if setting.made is not None:
        return made_bank(*setting.made)
    try:
        return shipped_bank()
    except MissingDataError:
        return made_bank(*SHIPPED)


def table(results: dict[str, object]) -> str:
    """Return the measurements as text, one method per line."""
    s, costs = results["methods.setting"], results["methods.costs"]
    lines = [
        f"{s['head']} heads on features {s['features']}, N={s['n_samples']}, D={s['n_features']}: "
        f"times the cost of cross entropy over {s['rounds']} rounds",
        f"(* ranked; a run has {s['study_epochs']} epochs, for which {s['epochs']} stand)",
        "",
        f"{'':38}{'networks':>8}{'per run':>11}{'min - max':>15}{'per network-epoch':>19}{'once':>7}",
    ]
    for row in costs.values():
        per_epoch = f"{row['per_network_epoch']:.2f} x" if row["networks"] else "-"
        spread = f"{row['per_run_min']:.2f} - {row['per_run_max']:.2f}"
        lines.append(
            f"{'* ' if row['ranked'] else '  '}{row['title']:36}{row['networks']:8}{row['per_run']:9.2f} x"
            f"{spread:>15}{per_epoch:>19}{row['share_once']:7.0%}"
        )
    dearest, most = (results[f"methods.dearest_ranked{key}"] for key in ("", "_per_network_epoch"))
    runs, seconds = s["runs_at_once"]["ce"], costs["ce"]["seconds_per_run"]
    return "\n".join(
        [
            *lines,
            "",
            f"a run with cross entropy takes {seconds:.2f} s as one of {runs} at once",
            f"dearest ranked method per network-epoch: {costs[dearest]['title']}, {most:.2f} x "
            f"(aim: at most {AIM:.0f} x)",
        ]
    )
