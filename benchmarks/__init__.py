"""What a call costs: ours and the peers', measured in one interleaved run. ``python -m benchmarks --help``."""
