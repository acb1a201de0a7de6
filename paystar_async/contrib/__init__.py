"""Integrations: web frameworks, bots, workers, tracing. Each module needs only its own framework."""
