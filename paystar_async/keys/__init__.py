"""Keys that live for 24 hours: the record, the stores that hold it, and the keeper that renews it."""
