"""What a client can be given, by name."""

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypedDict

from paystar_async.accounts import Application, Gateway, Wallet
from paystar_async.clock import Clock
from paystar_async.endpoint import Middleware
from paystar_async.events import OnEvent
from paystar_async.keys.crypto import Crypto
from paystar_async.keys.store import KeyStore
from paystar_async.storage.database import Database

if TYPE_CHECKING:
    from paystar_async.transport.choose import GivenEngine

Checks = Literal["shape", "strict"]


class Options(TypedDict, total=False):
    """What ``Paystar`` takes; each overrides the environment in ``Paystar.from_env``."""

    application: Application | None
    gateway: Gateway | None
    wallet: Wallet | None
    base_url: str
    timeout: float
    max_retries: int
    concurrency: int
    checks: Checks
    keys: str | KeyStore | None
    database: str | PathLike[str] | Database | None
    crypto: Crypto | None
    engine: "GivenEngine"
    proxy: str | None
    middleware: Sequence[Middleware]
    clock: Clock | None
    on_event: OnEvent | None
