"""The register of assumptions about the live service, and the recorder of the responses that verify them."""

from paystar_async.conform.recorder import ShapeRecorder

__all__ = ["ShapeRecorder"]
