"""A stateful imitation of Paystar for development, in process or as a server, with faults on demand."""

from importlib.util import find_spec

from paystar_async.errors import MissingExtra

# A web framework may depend on either of them.
if not all(map(find_spec, ("starlette", "jinja2"))):
    raise MissingExtra("the sandbox", "sandbox")

from paystar_async.sandbox.faults import FaultKind
from paystar_async.sandbox.sandbox import Sandbox
from paystar_async.sandbox.settings import Settings

__all__ = ["FaultKind", "Sandbox", "Settings"]
