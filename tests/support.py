"""What the tests of rings, keys and flows stand on: an engine that plays a part, and a clock that runs by itself."""

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
    """One request as an engine got it."""

    method: str
    path: str
    bearer: str
    fields: dict[str, Any]
    timeout: float


def ok(data: object = None, *, status: int | str = 1) -> Raw:
    """An answer that says success."""
    return 200, {}, json.dumps({"status": status, "message": "ok", "data": data}).encode()


def refused(
    status: int | str, message: str = "", *, http: int = 200, data: object = None, retry_after: int | None = None
) -> Raw:
    """An answer that says anything else."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return http, headers, json.dumps({"status": status, "message": message, "data": data}).encode()


def page(http: int = 502, *, retry_after: int | None = None) -> Raw:
    """An HTML page where an envelope was due."""
    return http, {} if retry_after is None else {"retry-after": str(retry_after)}, b"<html>no</html>"


class Engine:
    """Carries nothing: asks ``play`` what to answer, and keeps what was sent."""

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
        """What was sent to paths that end so."""
        return [one for one in self.sent if one.path.endswith(end)]


def in_turn(*replies: Reply) -> Play:
    """Answers in this order; the last one stays."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


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
    """A client of all three accounts over an engine."""
    given: dict[str, Any] = {"application": APPLICATION, "gateway": GATEWAY, "wallet": WALLET, "engine": over}
    return Paystar(**{**given, **options})


def transfer(track_id: str, amount: int = 1000) -> Transfer:
    """A bank transfer."""
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
    """A request on its way to a ring."""
    return Request(value=value, endpoint=BY_REQUEST[type(value)], account="app-1", timeout=timeout, deadline=deadline)


def row_request(row: str, **options: Any) -> Request[Any]:
    """A request of a row, where the value does not matter."""
    return Request(value=MATCH, endpoint=BY_ID[row], account="app-1", timeout=30.0, **options)


RESPONSE = Response(value=Match(is_matched=True), status=1, message="ok", http_status=200, headers={}, body=b"")


class Next:
    """The rest of the way, as a ring sees it: results in turn, the last one stays."""

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
    """A clock of which a sleep takes no time: it moves on at once. For code in which one thing sleeps at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))
        await anyio.lowlevel.checkpoint()


class RunningClock(ManualClock):
    """A clock that runs in no time: whenever nothing else is left to do, it moves on to the next sleeper."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Let it run for the length of a ``with``."""
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
    """Let everything that can go on go on."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@define
class Told:
    """Keeps what ``on_event`` is told."""

    events: list[Event] = field(factory=list[Event])

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.events]


EVERYTHING = {"is_matched": True, "balance": 1, "total_amount": 1, "available_amount": 1, "status": "INIT"}
REFRESHES = ("/open-banking/application/refresh-api-key", "/wallet/refresh-api-key", "/wallet/refresh-inquiry-key")


@define
class KeyServer:
    """A service whose keys expire and whose refresh tokens rotate: each is good once."""

    clock: Clock
    play: Play = field(default=lambda _: ok(EVERYTHING))
    life: float = 24 * 3600.0
    rotates: bool = True
    says_expiry: bool = True
    refusal: Raw = field(factory=lambda: refused(4, "invalid token", http=400))
    keys: dict[str, float] = field(factory=lambda: {"key-0": float("inf")})
    """The keys that open, and until when."""
    refresh_token: str = "refresh-0"
    renewals: int = 0
    before: Callable[[], Awaitable[Reply | None]] | None = None
    """Comes first in a renewal; what it returns is answered instead."""
    after: Callable[[], Awaitable[Reply | None]] | None = None
    """Comes when the keys are new and the answer is on its way; what it returns is answered instead."""

    async def __call__(self, sent: Sent) -> Reply:
        if sent.path.endswith(REFRESHES):
            return await self._renew(sent, "inquiry_key" if "inquiry" in sent.path else "api_key")
        if not sent.path.startswith("/pardakht") and self.clock.time() >= self.keys.get(sent.bearer, 0.0):
            return self.refusal
        reply = self.play(sent)
        return await reply if isawaitable(reply) else reply

    async def _renew(self, sent: Sent, name: str) -> Reply:
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
    """A moment as an answer's expiry names it."""
    return datetime.fromtimestamp(moment, TEHRAN).strftime("%Y-%m-%d %H:%M:%S")


def entry(track_id: str | None, status: str = "success", **more: object) -> dict[str, object]:
    """One transfer in an answer."""
    said = {"hashid": f"h-{track_id}", "track_id": track_id, "status": status, **more}
    return {name: one for name, one in said.items() if one is not None}


def entries(track_ids: Iterable[str], status: str = "success") -> list[dict[str, object]]:
    """Several transfers in an answer."""
    return [entry(one, status) for one in track_ids]


class Turns:
    """Counts the turns of the loop while it is entered.

    Attributes:
        number: of the turn that is under way.
    """

    def __init__(self) -> None:
        self.number = 0
        self._watched: list[tuple[list[Any], list[list[Any]]]] = []
        self._handle: asyncio.Handle | None = None

    def watch(self, said: list[Any]) -> list[list[Any]]:
        """What is added to a list from now on, turn by turn."""
        turns: list[list[Any]] = []
        self._watched.append((said, turns))
        return turns

    def _count(self) -> None:
        self.number += 1
        for said, turns in self._watched:
            turns.append(said.copy())
            said.clear()
        self._handle = asyncio.get_running_loop().call_soon(self._count)

    async def __aenter__(self) -> "Turns":
        self._count()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._handle is not None
        self._handle.cancel()
        self._count()
        self._handle.cancel()
