"""Field types of requests: parsing, checksums, masks and JSON schemas."""
