"""From a request value to bytes and back."""
