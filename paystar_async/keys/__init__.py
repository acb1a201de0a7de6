"""Keys that are valid for 24 hours: records, stores, leases and the refresher."""
