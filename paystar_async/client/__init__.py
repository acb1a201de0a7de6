"""The client, and its state in each event loop."""

from paystar_async.client.client import Paystar

__all__ = ["Paystar"]
