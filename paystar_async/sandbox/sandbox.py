"""The Sandbox class: the sandbox's state with its ASGI application and its in-process engine."""

from functools import cached_property

from starlette.types import ASGIApp

from paystar_async.sandbox.app import make_app
from paystar_async.sandbox.engine import SandboxEngine
from paystar_async.sandbox.state import SandboxState


class Sandbox(SandboxState):
    """A Paystar for development: it has accounts, moves play money, checks every signature and fails on demand.

    In process, use ``Paystar(..., engine=sandbox.engine())``; as a server, see ``paystar_async.sandbox.server``.

    Args:
        seed: seed of the accounts, people, ids and random faults.
        clock: clock for key expiry, settlement and latency; by default a ``SandboxClock``.
        key_life: seconds a key is valid.
        settings: settings by name, such as ``default_callback_method="POST"``; see ``Settings``.

    Raises:
        ConfigurationError: a setting does not exist, or its value is not allowed.
    """

    @cached_property
    def app(self) -> ASGIApp:
        """The ASGI application: the endpoints under ``/api``, the controls under ``/_sandbox``."""
        return make_app(self)

    def engine(self) -> SandboxEngine:
        """Return an engine that sends requests to this sandbox without a network."""
        return SandboxEngine(self, self.app)
