"""Benchmarks: the cost of a call with this SDK and its peers; ``python -m benchmarks --help``."""
