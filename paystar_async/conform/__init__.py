"""What this package assumes about the live service, and how to find out whether it is so."""

from paystar_async.conform.recorder import ShapeRecorder

__all__ = ["ShapeRecorder"]
