"""The rings a call walks through; each is a file, and each knows only ``next``."""
