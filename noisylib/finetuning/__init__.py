"""Full fine-tuning of a backbone under label noise: FFT with CE, GCE and ELR, and TURN.

Everything else in this package trains heads on features that stay as they are. Here the backbone moves.

Sources: Ahn et al. 2024 (TURN), Zhang and Sabuncu 2018 (GCE), Liu et al. 2020 (ELR).
"""

from noisylib.finetuning.batches import extract
from noisylib.finetuning.loop import finetune
from noisylib.finetuning.network import ImageClassifier, make_classifier
from noisylib.finetuning.probe import probe_head
from noisylib.finetuning.recipe import FinetuneRecipe
from noisylib.finetuning.selection import Selection, select
from noisylib.finetuning.tuned import EpochRecord, FineTuned, load_tuned
from noisylib.finetuning.turn import TUNINGS, Turn, make_tuning

__all__ = [
    "TUNINGS",
    "EpochRecord",
    "FineTuned",
    "FinetuneRecipe",
    "ImageClassifier",
    "Selection",
    "Turn",
    "extract",
    "finetune",
    "load_tuned",
    "make_classifier",
    "make_tuning",
    "probe_head",
    "select",
]
