"""Class names and asymmetric class maps that are too long for the catalogue itself.

A class map says, by class *name*, which class a wrong label of each class is taken for. Names and
not ids, because the same classes are numbered differently by different publishers (HAM10000 and
ISIC2019 share seven diagnoses under other ids). A class that a map leaves out keeps its labels.

There is no agreed map for the medical sets. Those here are clinically plausible look-alikes chosen
for this benchmark; the CIFAR and digits maps are the published ones.

References
----------
.. [1] Patrini et al., "Making deep neural networks robust to label noise: a loss correction
   approach", CVPR 2017 (CIFAR-10, CIFAR-100 and MNIST maps).
"""

from __future__ import annotations

from itertools import pairwise

ClassMap = dict[str, str]


def both_ways(*pairs: tuple[str, str]) -> ClassMap:
    """Return the map that swaps the two classes of every pair."""
    return {source: target for pair in pairs for source, target in (pair, pair[::-1])}


def cycle(names: tuple[str, ...]) -> ClassMap:
    """Return the map of every class to the next one, the last to the first."""
    return dict(zip(names, names[1:] + names[:1], strict=True))


# Skin. "majority" sends every look-alike into the class that dominates it: the noisy minority
# classes then stay pure, where the pairs of the default map make them mostly wrong.
SKIN_CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SKIN_MAPS = {
    "default": {**both_ways(("mel", "nv"), ("bcc", "bkl"), ("df", "vasc")), "akiec": "bcc"},
    "majority": {"mel": "nv", "bkl": "nv", "df": "nv", "vasc": "nv", "akiec": "bcc", "bcc": "bkl"},
}
ISIC2019_CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
ISIC2019_MAPS = {
    "default": both_ways(("MEL", "NV"), ("BCC", "BKL"), ("AK", "SCC"), ("DF", "VASC")),
    "majority": {
        "MEL": "NV", "BKL": "NV", "DF": "NV", "VASC": "NV", "AK": "BCC", "SCC": "BCC", "BCC": "BKL",
    },
}  # fmt: skip

# Blood. "ig" are immature granulocytes: myelocytes, metamyelocytes and promyelocytes.
BLOOD_CLASSES = (
    "basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet",
)  # fmt: skip
# Granulocytes and their precursors look alike; a platelet clump passes for a nucleated red cell.
BLOOD_MAP = {
    **both_ways(("ig", "neutrophil"), ("erythroblast", "lymphocyte")),
    "basophil": "ig",
    "eosinophil": "neutrophil",
    "monocyte": "ig",
    "platelet": "erythroblast",
}

PATH_CLASSES = (
    "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
    "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
)  # fmt: skip
PATH_MAP = {
    **both_ways(
        ("smooth muscle", "cancer-associated stroma"),
        ("normal colon mucosa", "colorectal adenocarcinoma epithelium"),
        ("adipose", "background"),
        ("debris", "mucus"),
    ),
    "lymphocytes": "debris",
}
ORGAN_CLASSES = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
    "lung-right", "pancreas", "spleen",
)  # fmt: skip
ORGAN_MAP = {
    **both_ways(
        ("femur-left", "femur-right"),
        ("kidney-left", "kidney-right"),
        ("lung-left", "lung-right"),
        ("liver", "spleen"),
    ),
    "heart": "liver",
    "pancreas": "spleen",
    "bladder": "pancreas",
}
RETINA_CLASSES = tuple(f"grade {grade}" for grade in range(5))
# Neighbouring grades are what graders disagree on; the last grade has only one neighbour.
RETINA_MAP = {**dict(pairwise(RETINA_CLASSES)), "grade 4": "grade 3"}

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10_MAP = {
    **both_ways(("cat", "dog")), "truck": "automobile", "bird": "airplane", "deer": "horse",
}  # fmt: skip

DIGITS_CLASSES = tuple(str(digit) for digit in range(10))
DIGITS_MAP = {**both_ways(("5", "6")), "7": "1", "2": "7", "3": "8"}

CIFAR100_SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
# CIFAR-100 numbers its fine classes alphabetically, so ids are not grouped by superclass.
CIFAR100_CLASSES = tuple(sorted(name for group in CIFAR100_SUPERCLASSES.values() for name in group))
CIFAR100_BLOCK5: ClassMap = {}
for _start in range(0, 100, 5):
    CIFAR100_BLOCK5 |= cycle(CIFAR100_CLASSES[_start : _start + 5])
CIFAR100_SUPERCLASS: ClassMap = {}
for _group in CIFAR100_SUPERCLASSES.values():
    CIFAR100_SUPERCLASS |= cycle(_group)
# Published "asymmetric 40 %" numbers cycle through blocks of five consecutive ids, as if these were
# the superclasses; the true superclass cycle is the stated intent and harder. Both are kept.
CIFAR100_MAPS = {
    "default": CIFAR100_BLOCK5,
    "cifar100_block5": CIFAR100_BLOCK5,
    "cifar100_superclass": CIFAR100_SUPERCLASS,
}

CLOTHING1M_CLASSES = (
    "T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket", "Down Coat",
    "Suit", "Shawl", "Dress", "Vest", "Underwear",
)  # fmt: skip
# The first 50 ImageNet classes, in ImageNet order: what the "mini" WebVision benchmark uses.
WEBVISION_CLASSES = (
    "tench", "goldfish", "great white shark", "tiger shark", "hammerhead", "electric ray", "stingray",
    "cock", "hen", "ostrich", "brambling", "goldfinch", "house finch", "junco", "indigo bunting", "robin",
    "bulbul", "jay", "magpie", "chickadee", "water ouzel", "kite", "bald eagle", "vulture",
    "great grey owl", "European fire salamander", "common newt", "eft", "spotted salamander", "axolotl",
    "bullfrog", "tree frog", "tailed frog", "loggerhead", "leatherback turtle", "mud turtle", "terrapin",
    "box turtle", "banded gecko", "common iguana", "American chameleon", "whiptail", "agama",
    "frilled lizard", "alligator lizard", "Gila monster", "green lizard", "African chameleon",
    "Komodo dragon", "African crocodile",
)  # fmt: skip
