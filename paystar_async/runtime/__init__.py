"""Clock, background tasks and events: what the rest runs on."""
