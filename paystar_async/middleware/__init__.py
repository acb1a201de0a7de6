"""Middlewares: each wraps the next one and sees every request and its response or error."""
