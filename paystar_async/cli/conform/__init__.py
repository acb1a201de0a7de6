"""``paystar conform``: compare what this package assumes with what the service responds."""
