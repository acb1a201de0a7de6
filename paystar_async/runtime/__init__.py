"""Clock, background tasks and events, which the other packages use."""
