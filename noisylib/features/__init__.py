"""Frozen features: backbones, extraction, and the banks that hold the result."""

from noisylib.features.bank import BankMeta, FeatureBank, list_banks, load_bank

__all__ = ["BankMeta", "FeatureBank", "list_banks", "load_bank"]
