"""``paystar demo``: the SDK against a local sandbox with failures."""
