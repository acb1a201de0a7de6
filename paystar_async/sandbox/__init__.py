"""A stateful imitation of Paystar for development, in process or as a server, with faults on demand."""

from importlib.util import find_spec

from paystar_async.errors import ConfigurationError

if find_spec("starlette") is None:
    raise ConfigurationError("the sandbox needs starlette", hint='pip install "paystar-async[sandbox]"')

from paystar_async.sandbox.faults import FaultKind
from paystar_async.sandbox.sandbox import Sandbox
from paystar_async.sandbox.settings import Settings

__all__ = ["FaultKind", "Sandbox", "Settings"]
