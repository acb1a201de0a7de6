"""The sandbox and the ways into it."""

from functools import cached_property

from starlette.types import ASGIApp

from paystar_async.sandbox.app import make_app
from paystar_async.sandbox.engine import SandboxEngine
from paystar_async.sandbox.state import SandboxState


class Sandbox(SandboxState):
    """A Paystar to develop against: it keeps accounts, moves money, checks every signature – and fails on demand.

    In process, ``Paystar(..., engine=sandbox.engine())``; as a server, see ``paystar_async.sandbox.server``.

    Args:
        seed: accounts, people, names and chances follow from it.
        clock: what keys expire, transfers settle and answers are late by; its own by default.
        key_life: seconds a key is good for.
        settings: how it behaves, by name, such as ``default_callback_method="POST"``; see ``Settings``.

    Raises:
        ConfigurationError: a setting does not exist, or its value is not allowed.
    """

    @cached_property
    def app(self) -> ASGIApp:
        """The ASGI application: the endpoints under ``/api``, the controls under ``/_sandbox``."""
        return make_app(self)

    def engine(self) -> SandboxEngine:
        """An engine that brings requests here without a network."""
        return SandboxEngine(self, self.app)
