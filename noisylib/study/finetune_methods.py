"""The rows of a study of fine-tuning: what is trained, by which rule, under which label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from noisylib.errors import ConfigError, check_name
from noisylib.study.method_spec import file_name

# Name in a configuration -> (tuning, rule, label of the rows): the rows of the table of Ahn et al. 2024.
ROWS = {
    "lp-ce": ("lp", "ce", "LP-CE"),
    "lp-gce": ("lp", "gce", "LP-GCE"),
    "lp-elr": ("lp", "elr", "LP-ELR"),
    "lp-dividemix": ("lp", "dividemix", "LP-DivideMix"),
    "lp-unicon": ("lp", "unicon", "LP-UNICON"),
    "fft-ce": ("fft", "ce", "FFT-CE"),
    "fft-gce": ("fft", "gce", "FFT-GCE"),
    "fft-elr": ("fft", "elr", "FFT-ELR"),
    "turn": ("turn", "turn", "TURN"),
}


@dataclass(frozen=True)
class TuningSpec:
    """One row of the table.

    Attributes
    ----------
    tuning : "lp", a linear probe on frozen features; "fft", full fine-tuning; "turn", one after the other.
    method : the rule.
    options : changed hyper-parameters of TURN.
    label : what the rows are called.
    """

    tuning: str
    method: str
    options: tuple[tuple[str, Any], ...] = ()
    label: str = ""

    @classmethod
    def parse(cls, entry: object) -> TuningSpec:
        """Read ``fft-ce`` or ``{method: turn, tau: 0.4, label: turn-tau0.4}``."""
        if isinstance(entry, str):
            tuning, method, label = ROWS[check_name("methods", entry, ROWS)]
            return cls(tuning, method, (), label)
        if not isinstance(entry, Mapping) or not isinstance(entry.get("method"), str):
            raise ConfigError(
                f"methods entry {entry!r}: write a name, or {{method: turn, tau: 0.4, label: turn-tau0.4}}."
            )
        tuning, method, default = ROWS[check_name("methods", entry["method"], ROWS)]
        options = {key: value for key, value in entry.items() if key not in ("method", "label")}
        label = file_name("methods: label", entry.get("label", default))
        if options and method != "turn":
            raise ConfigError(f"methods entry {dict(entry)!r}: only turn has options; leave them out.")
        if options and label in {known for *_, known in ROWS.values()}:
            raise ConfigError(
                f"methods entry {dict(entry)!r} changes options: give it a label of its own, such as label: "
                "turn-variant, or its rows look like the default's."
            )
        spec = cls(tuning, method, tuple(sorted(options.items())), label)
        if method == "turn":
            spec.turn  # noqa: B018  an unknown option or a value out of range ends here
        return spec

    @property
    def turn(self) -> Any:
        """The settings of TURN, with the changed ones."""
        from noisylib.finetuning.turn import Turn

        known = asdict(Turn())
        for key in dict(self.options):
            check_name("option of turn", key, known)
        return Turn(**dict(self.options))

    @property
    def rule(self) -> Any:
        """What `noisylib.finetuning.loop.finetune` takes as its method."""
        return self.turn if self.method == "turn" else self.method
