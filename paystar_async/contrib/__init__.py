"""The client in its hosts: web frameworks, bots, workers, traces. Each module needs its framework, and no other."""
