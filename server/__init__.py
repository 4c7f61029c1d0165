"""Engram's server: loads verified bundles and answers with where the model looked."""

__version__ = "0.1.0"
