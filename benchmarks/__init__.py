"""Measure what a call costs, ours and the peers', in one interleaved run: ``python -m benchmarks --help``."""
