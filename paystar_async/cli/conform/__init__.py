"""``paystar conform``: compare this package's assumptions with responses of the live service."""
