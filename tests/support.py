"""Helpers of all tests: a scripted engine, clocks that advance by themselves, a server that refreshes keys."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from inspect import isawaitable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field, frozen

from paystar_async import Application, Gateway, Paystar, Transfer, Wallet
from paystar_async.endpoint import Request
from paystar_async.errors import NotSent, PaystarError
from paystar_async.models.base import Call
from paystar_async.models.identity import Match, MatchMobile
from paystar_async.models.transfers import Settle
from paystar_async.response import Response
from paystar_async.runtime.clock import Clock, ManualClock
from paystar_async.runtime.events import Event
from paystar_async.table import BY_REQUEST
from paystar_async.transport.engine import Headers
from paystar_async.values.dates import TEHRAN

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="no fork, signal, file mode or limit; open files stay")

Raw = tuple[int, Mapping[str, str], bytes]
Reply = Raw | BaseException
Script = Callable[["Sent"], "Reply | Awaitable[Reply]"]


@frozen
class Sent:
    """A request as an engine received it."""

    method: str
    path: str
    bearer: str
    fields: dict[str, Any]
    timeout: float


def ok(data: object = None, *, status: int | str = 1) -> Raw:
    """Return a successful response."""
    return 200, {}, json.dumps({"status": status, "message": "ok", "data": data}).encode()


def refused(status: int | str, message: str = "", *, http: int = 200, data: object = None) -> Raw:
    """Return a response with another status than success."""
    return http, {}, json.dumps({"status": status, "message": message, "data": data}).encode()


def html_page(http: int = 502) -> Raw:
    """Return an HTML page in place of an envelope."""
    return http, {}, b"<html>no</html>"


class Engine:
    """An engine without a network: returns the replies of ``script`` and records the requests."""

    supports_before_send = True

    def __init__(self, script: Script) -> None:
        self.script = script
        self.sent: list[Sent] = []
        self.in_flight = self.max_in_flight = 0
        self.closed = 0

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> Raw:
        if timeout <= 0:
            raise NotSent("no time was left to send the request")
        if before_send is not None:
            before_send()
        parts = urlsplit(url)
        fields = json.loads(body) if body else {name: texts[0] for name, texts in parse_qs(parts.query).items()}
        bearer = dict(headers).get("Authorization", "").removeprefix("Bearer ")
        sent = Sent(method, parts.path.removeprefix("/api"), bearer, fields, timeout)
        self.sent.append(sent)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await anyio.lowlevel.checkpoint()
            reply = self.script(sent)
            result = await reply if isawaitable(reply) else reply
        finally:
            self.in_flight -= 1
        if isinstance(result, BaseException):
            raise result
        return result

    async def aclose(self) -> None:
        self.closed += 1

    def sent_to(self, path_end: str) -> list[Sent]:
        """Return the requests whose path ends in ``path_end``."""
        return [sent for sent in self.sent if sent.path.endswith(path_end)]


def in_turn(*replies: Reply) -> Script:
    """Return a script that replies in this order and repeats the last reply."""
    pending = list(replies)
    return lambda _: pending.pop(0) if len(pending) > 1 else pending[0]


APPLICATION = Application(id="app-1", access_password="pass-app", api_key="key-0", refresh_token="refresh-0")
GATEWAY = Gateway(id="gateway-1", sign_key="test-sign-key")
WALLET = Wallet(
    hashid="w123",
    password="p@ss",
    sign_key="test-sign-key",
    api_key="key-0",
    refresh_token="refresh-0",
    inquiry_key="key-0",
    refresh_inquiry_key="refresh-0",
)
SECRETS = ("pass-app", "p@ss", "test-sign-key", "gateway-1", "key-0", "refresh-0")


def client(engine: Any, **options: Any) -> Paystar:
    """Return a client with credentials of all three realms over an engine."""
    arguments: dict[str, Any] = {"application": APPLICATION, "gateway": GATEWAY, "wallet": WALLET, "engine": engine}
    return Paystar(**{**arguments, **options})


def transfer(track_id: str, amount: int = 1000, *, deposit: str = "0100000000001") -> Transfer:
    """Return a bank transfer."""
    return Transfer(
        amount=amount,
        deposit=deposit,
        destination_account="0200000000002",
        destination_firstname="Ali",
        destination_lastname="Ahmadi",
        track_id=track_id,
    )


def environment_without_paystar() -> dict[str, str]:
    """Return the environment of this process without the variables of a client, for a child process."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PAYSTAR_")}


def delete_paystar_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delete the variables of a client from the environment, for one test."""
    for name in [name for name in os.environ if name.startswith("PAYSTAR_")]:
        monkeypatch.delenv(name)


MATCH = MatchMobile(national_id="0012345679", mobile_number="09121234567")
SETTLE = Settle(transfers=[transfer("t-1")])


def request(value: Call[Any] = MATCH, *, timeout: float = 30.0, deadline: float | None = None) -> Request[Any]:
    """Return a request as a middleware receives it."""
    return Request(value=value, endpoint=BY_REQUEST[type(value)], account="app-1", timeout=timeout, deadline=deadline)


RESPONSE = Response(value=Match(is_matched=True), status=1, message="ok", http_status=200, headers={}, body=b"")


class Next:
    """The ``next`` of a middleware: gives its results in order and repeats the last result."""

    def __init__(self, *results: PaystarError | Response[Any]) -> None:
        self.results = list(results)
        self.requests: list[Request[Any]] = []

    async def __call__(self, request: Request[Any], /) -> Response[Any]:
        self.requests.append(request)
        await anyio.lowlevel.checkpoint()
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, BaseException):
            raise result
        return result


class QuickClock(ManualClock):
    """A clock whose ``sleep`` advances the time at once, for code in which only one task sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))
        await anyio.lowlevel.checkpoint()


class RunningClock(ManualClock):
    """A clock that advances to the next sleeper whenever no task can run."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Run the clock inside a ``with`` block."""
        task = asyncio.create_task(self._advance())
        try:
            yield
        finally:
            task.cancel()

    async def _advance(self) -> None:
        while True:
            await wait_all_tasks_blocked()
            if self._sleepers:
                self.advance(max(0.0, self._sleepers[0][0] - self.monotonic()))


async def wait_all_tasks_blocked(rounds: int = 60) -> None:
    """Let all tasks run until they wait."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@define
class EventRecorder:
    """An ``on_event`` that records its events."""

    events: list[Event] = field(factory=list[Event])

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


ANY_DATA = {"is_matched": True, "balance": 1, "total_amount": 1, "available_amount": 1, "status": "INIT"}
REFRESHES = ("/open-banking/application/refresh-api-key", "/wallet/refresh-api-key", "/wallet/refresh-inquiry-key")


@define
class KeyServer:
    """A server whose keys expire and whose refresh tokens rotate: a refresh token is valid once."""

    clock: Clock
    script: Script = field(default=lambda _: ok(ANY_DATA))
    key_lifetime: float = 24 * 3600.0
    rotates_refresh_token: bool = True
    sends_expiry: bool = True
    rejection: Raw = field(factory=lambda: refused(4, "invalid token", http=400))
    keys: dict[str, float] = field(factory=lambda: {"key-0": float("inf")})
    """The expiry of each valid key."""
    refresh_token: str = "refresh-0"
    refreshes: int = 0
    before_refresh: Callable[[], Awaitable[Reply | None]] | None = None
    """Called before a refresh; a returned reply replaces the response."""
    after_refresh: Callable[[], Awaitable[Reply | None]] | None = None
    """Called after a refresh; a returned reply replaces the response."""

    async def __call__(self, sent: Sent) -> Reply:
        if sent.path.endswith(REFRESHES):
            return await self._refresh(sent, "inquiry_key" if "inquiry" in sent.path else "api_key")
        if not sent.path.startswith("/pardakht") and self.clock.time() >= self.keys.get(sent.bearer, 0.0):
            return self.rejection
        reply = self.script(sent)
        return await reply if isawaitable(reply) else reply

    async def _refresh(self, sent: Sent, name: str) -> Reply:
        if self.before_refresh is not None and (replacement := await self.before_refresh()) is not None:
            return replacement
        token_field = "refresh_inquiry_key" if name == "inquiry_key" else "refresh_token"
        if sent.fields[token_field] != self.refresh_token:
            return refused(13, "invalid refresh token", http=400)
        self.refreshes += 1
        token = f"key-{self.refreshes}"
        self.keys[token] = self.clock.time() + self.key_lifetime
        data = {name: token}
        if self.sends_expiry:
            data[f"{name}_expire_date"] = tehran_time(self.keys[token])
        if self.rotates_refresh_token:
            self.refresh_token = data[token_field] = f"refresh-{self.refreshes}"
        if self.after_refresh is not None and (replacement := await self.after_refresh()) is not None:
            return replacement
        return ok(data)


def tehran_time(moment: float) -> str:
    """Return a time in the format in which a response names an expiry."""
    return datetime.fromtimestamp(moment, TEHRAN).strftime("%Y-%m-%d %H:%M:%S")


def entry(track_id: str | None, status: str = "success", **more: object) -> dict[str, object]:
    """Return a transfer as a response lists it."""
    fields = {"hashid": f"h-{track_id}", "track_id": track_id, "status": status, **more}
    return {name: value for name, value in fields.items() if value is not None}


def entries(track_ids: Iterable[str]) -> list[dict[str, object]]:
    """Return several successful transfers as a response lists them."""
    return [entry(track_id) for track_id in track_ids]


class LoopTurns:
    """A counter of event loop turns, inside an ``async with`` block.

    Attributes:
        number: the current turn.
    """

    def __init__(self) -> None:
        self.number = 0
        self._watched: list[tuple[list[Any], list[list[Any]]]] = []
        self._handle: asyncio.Handle | None = None

    def watch(self, records: list[Any]) -> list[list[Any]]:
        """Return a list of the items that each later turn adds to ``records``, which is emptied."""
        turns: list[list[Any]] = []
        self._watched.append((records, turns))
        return turns

    def _count(self) -> None:
        self.number += 1
        for records, turns in self._watched:
            turns.append(records.copy())
            records.clear()
        self._handle = asyncio.get_running_loop().call_soon(self._count)

    async def __aenter__(self) -> "LoopTurns":
        self._count()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._handle is not None
        self._handle.cancel()
        self._count()
        self._handle.cancel()
