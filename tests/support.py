"""Helpers of the tests: a scripted engine, clocks that run by themselves, a server of keys."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from inspect import isawaitable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from paystar_async import Application, Gateway, Paystar, Transfer, Wallet
from paystar_async.endpoint import Request, Response
from paystar_async.errors import NotSent, PaystarError
from paystar_async.models.base import Call
from paystar_async.models.identity import Match, MatchMobile
from paystar_async.models.transfers import Settle
from paystar_async.runtime.clock import Clock, ManualClock
from paystar_async.runtime.events import Event
from paystar_async.table import BY_ID, BY_REQUEST
from paystar_async.transport.engine import Headers
from paystar_async.values.dates import TEHRAN

Raw = tuple[int, Mapping[str, str], bytes]
Reply = Raw | BaseException
Play = Callable[["Sent"], "Reply | Awaitable[Reply]"]


@frozen
class Sent:
    """A request as an engine received it."""

    method: str
    path: str
    bearer: str
    fields: dict[str, Any]
    timeout: float


def ok(data: object = None, *, status: int | str = 1) -> Raw:
    """Return a response of success."""
    return 200, {}, json.dumps({"status": status, "message": "ok", "data": data}).encode()


def refused(
    status: int | str, message: str = "", *, http: int = 200, data: object = None, retry_after: int | None = None
) -> Raw:
    """Return a response with another status than success."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return http, headers, json.dumps({"status": status, "message": message, "data": data}).encode()


def page(http: int = 502, *, retry_after: int | None = None) -> Raw:
    """Return an HTML page in place of an envelope."""
    return http, {} if retry_after is None else {"retry-after": str(retry_after)}, b"<html>no</html>"


class Engine:
    """An engine without a network: returns the replies of ``play``, and records the requests."""

    supports_before_send = True

    def __init__(self, play: Play) -> None:
        self.play = play
        self.sent: list[Sent] = []
        self.in_flight = self.most_in_flight = 0
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
            raise NotSent("no time was left to send it")
        if before_send is not None:
            before_send()
        parts = urlsplit(url)
        fields = json.loads(body) if body else {name: texts[0] for name, texts in parse_qs(parts.query).items()}
        bearer = dict(headers).get("Authorization", "").removeprefix("Bearer ")
        sent = Sent(method, parts.path.removeprefix("/api"), bearer, fields, timeout)
        self.sent.append(sent)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await anyio.lowlevel.checkpoint()
            reply = self.play(sent)
            result = await reply if isawaitable(reply) else reply
        finally:
            self.in_flight -= 1
        if isinstance(result, BaseException):
            raise result
        return result

    async def aclose(self) -> None:
        self.closed += 1

    def to(self, end: str) -> list[Sent]:
        """Return the requests whose path has this end."""
        return [sent for sent in self.sent if sent.path.endswith(end)]


def in_turn(*replies: Reply) -> Play:
    """Return a script of these replies in order; the last reply is repeated."""
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


def client(over: Any, **options: Any) -> Paystar:
    """Return a client with credentials of all three realms over an engine."""
    arguments: dict[str, Any] = {"application": APPLICATION, "gateway": GATEWAY, "wallet": WALLET, "engine": over}
    return Paystar(**{**arguments, **options})


def transfer(track_id: str, amount: int = 1000) -> Transfer:
    """Return a bank transfer."""
    return Transfer(
        amount=amount,
        deposit="0100000000001",
        destination_account="0200000000002",
        destination_firstname="Ali",
        destination_lastname="Ahmadi",
        track_id=track_id,
    )


MATCH = MatchMobile(national_id="0012345679", mobile_number="09121234567")
SETTLE = Settle(transfers=[transfer("t-1")])


def request(value: Call[Any] = MATCH, *, timeout: float = 30.0, deadline: float | None = None) -> Request[Any]:
    """Return a request as a middleware receives it."""
    return Request(value=value, endpoint=BY_REQUEST[type(value)], account="app-1", timeout=timeout, deadline=deadline)


def row_request(row: str, **options: Any) -> Request[Any]:
    """Return a request to an endpoint, with a value that does not matter."""
    return Request(value=MATCH, endpoint=BY_ID[row], account="app-1", timeout=30.0, **options)


RESPONSE = Response(value=Match(is_matched=True), status=1, message="ok", http_status=200, headers={}, body=b"")


class Next:
    """The ``next`` of a middleware: results in order; the last result is repeated."""

    def __init__(self, *results: PaystarError | Response[Any]) -> None:
        self.results = list(results)
        self.seen: list[Request[Any]] = []

    async def __call__(self, request: Request[Any], /) -> Response[Any]:
        self.seen.append(request)
        await anyio.lowlevel.checkpoint()
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, BaseException):
            raise result
        return result


class QuickClock(ManualClock):
    """A clock whose ``sleep`` advances the time at once; for code in which one task sleeps at a time."""

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
        task = asyncio.create_task(self._run_on())
        try:
            yield
        finally:
            task.cancel()

    async def _run_on(self) -> None:
        while True:
            await settled()
            if self._sleepers:
                self.advance(max(0.0, self._sleepers[0][0] - self.monotonic()))


async def settled(rounds: int = 60) -> None:
    """Let all tasks run until they wait."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@define
class Told:
    """An ``on_event`` that records its events."""

    events: list[Event] = field(factory=list[Event])

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


EVERYTHING = {"is_matched": True, "balance": 1, "total_amount": 1, "available_amount": 1, "status": "INIT"}
REFRESHES = ("/open-banking/application/refresh-api-key", "/wallet/refresh-api-key", "/wallet/refresh-inquiry-key")


@define
class KeyServer:
    """A server whose keys expire and whose refresh tokens rotate: each refresh token is valid once."""

    clock: Clock
    play: Play = field(default=lambda _: ok(EVERYTHING))
    life: float = 24 * 3600.0
    rotates: bool = True
    says_expiry: bool = True
    refusal: Raw = field(factory=lambda: refused(4, "invalid token", http=400))
    keys: dict[str, float] = field(factory=lambda: {"key-0": float("inf")})
    """Valid keys, and when each expires."""
    refresh_token: str = "refresh-0"
    renewals: int = 0
    before: Callable[[], Awaitable[Reply | None]] | None = None
    """Called before a refresh; a returned reply replaces the response."""
    after: Callable[[], Awaitable[Reply | None]] | None = None
    """Called after a refresh; a returned reply replaces the response."""

    async def __call__(self, sent: Sent) -> Reply:
        if sent.path.endswith(REFRESHES):
            return await self._refresh(sent, "inquiry_key" if "inquiry" in sent.path else "api_key")
        if not sent.path.startswith("/pardakht") and self.clock.time() >= self.keys.get(sent.bearer, 0.0):
            return self.refusal
        reply = self.play(sent)
        return await reply if isawaitable(reply) else reply

    async def _refresh(self, sent: Sent, name: str) -> Reply:
        if self.before is not None and (instead := await self.before()) is not None:
            return instead
        shown = "refresh_inquiry_key" if name == "inquiry_key" else "refresh_token"
        if sent.fields[shown] != self.refresh_token:
            return refused(13, "invalid refresh token", http=400)
        self.renewals += 1
        token = f"key-{self.renewals}"
        self.keys[token] = self.clock.time() + self.life
        data = {name: token}
        if self.says_expiry:
            data[f"{name}_expire_date"] = tehran(self.keys[token])
        if self.rotates:
            self.refresh_token = data[shown] = f"refresh-{self.renewals}"
        if self.after is not None and (instead := await self.after()) is not None:
            return instead
        return ok(data)


def tehran(moment: float) -> str:
    """Return a time as a response writes its expiry."""
    return datetime.fromtimestamp(moment, TEHRAN).strftime("%Y-%m-%d %H:%M:%S")


def entry(track_id: str | None, status: str = "success", **more: object) -> dict[str, object]:
    """Return one transfer of a response."""
    fields = {"hashid": f"h-{track_id}", "track_id": track_id, "status": status, **more}
    return {name: value for name, value in fields.items() if value is not None}


def entries(track_ids: Iterable[str], status: str = "success") -> list[dict[str, object]]:
    """Return several transfers of a response."""
    return [entry(track_id, status) for track_id in track_ids]


class Turns:
    """A counter of event loop turns, inside an ``async with`` block.

    Attributes:
        number: the current turn.
    """

    def __init__(self) -> None:
        self.number = 0
        self._watched: list[tuple[list[Any], list[list[Any]]]] = []
        self._handle: asyncio.Handle | None = None

    def watch(self, records: list[Any]) -> list[list[Any]]:
        """Return the items that are added to a list from now on, by turn."""
        turns: list[list[Any]] = []
        self._watched.append((records, turns))
        return turns

    def _count(self) -> None:
        self.number += 1
        for records, turns in self._watched:
            turns.append(records.copy())
            records.clear()
        self._handle = asyncio.get_running_loop().call_soon(self._count)

    async def __aenter__(self) -> "Turns":
        self._count()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._handle is not None
        self._handle.cancel()
        self._count()
        self._handle.cancel()
