"""Transport: encode requests, send them through an engine, decode responses."""
