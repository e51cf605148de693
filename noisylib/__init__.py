"""noisylib: classifiers on frozen foundation-model features when the labels are wrong."""

__version__ = "0.1.0"
