"""``paystar demo``: every part of the SDK against a sandbox of its own."""
