"""A bank that does its worst: late, silent, forgetful, repeating – but what it says plainly is true.

A repeated ``track_id`` is paid again: whoever relies on the bank to notice is found out.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, field, frozen

from paystar_async.errors import NotSent, Unanswered
from paystar_async.transport.engine import Headers
from tests.payouts.simulator.world import QUIET, Host, World

Raw = tuple[int, Mapping[str, str], bytes]
HASHID = "w123"
REFUSALS = (2, 3, 6, 7, 8, 12)
POISON = "poison"
NONSENSE: tuple[Raw, ...] = (
    (502, {}, b"<html>bad gateway</html>"),
    (200, {}, b'{"status": "ok", "data": [{"track'),
    (500, {}, b'{"status": 0, "message": "internal server error", "data": null}'),
    (200, {}, b'{"status": 11, "message": "upstream", "data": null}'),
    (429, {"retry-after": "1"}, b'{"message": "Too Many Attempts."}'),
    (307, {"location": "https://elsewhere.example/"}, b""),
    (200, {}, b"[]"),
    (408, {}, b""),
)
UNREADABLE: Raw = (200, {}, b'{"status": "ok", "message": "ok", "data": "what"}')
"""To a wallet's request to pay, this is a plain word: it was accepted."""


@frozen
class Arrival:
    """A request to pay that reached the bank."""

    at: float
    host: str
    track_ids: tuple[str, ...]


@define(eq=False)
class Execution:
    """Money that the bank sent on its way.

    Attributes:
        at: when.
        asked: what was asked for.
        number: which one it was in its request.
        arrival: with which request it came.
        ends: when the bank decides.
        fails: how it decides.
        reversed_at: when it comes back all the same.
        listed_at: from when on the bank's lists show it.
    """

    at: float
    asked: Mapping[str, Any]
    number: int
    arrival: Arrival
    ends: float
    fails: bool
    reversed_at: float
    listed_at: float

    @property
    def track_id(self) -> str:
        return str(self.asked["track_id"])

    def status(self, now: float) -> str:
        if now < self.ends:
            return "pending"
        return "failed" if self.fails or now >= self.reversed_at else "success"


@define(eq=False)
class Bank:
    """What was asked of it, what it did, and what it says.

    Attributes:
        world: whose weather it has.
        wallet: whether it is asked for wallet payouts.
        arrivals: the requests to pay, as they came.
        executed: the executions, by track_id.
        not_found: when it was asked about a track_id and found nothing.
        refused: which requests it refused as a whole, by track_id.
        muddled: the track_ids of which it contradicted itself.
        opening: Rial in an account at first.
        watch: called when a request to pay arrives.
        answered: called when one of our processes has a plain answer in its hands.
    """

    world: World
    wallet: bool
    opening: int
    watch: Callable[[Arrival], object]
    answered: Callable[[Host, Mapping[str, Any]], object] = field(init=False)
    arrivals: list[Arrival] = field(factory=list[Arrival])
    executed: defaultdict[str, list[Execution]] = field(factory=lambda: defaultdict[str, list[Execution]](list))
    not_found: defaultdict[str, list[float]] = field(factory=lambda: defaultdict[str, list[float]](list))
    refused: defaultdict[str, list[Arrival]] = field(factory=lambda: defaultdict[str, list[Arrival]](list))
    muddled: set[str] = field(factory=set[str])
    balances: dict[str, int] = field(factory=dict[str, int])
    halted: bool = False

    # what it does

    def pay(self, host: str, items: Sequence[Mapping[str, Any]]) -> Raw | None:
        """Take a request; None is no answer."""
        world, weather = self.world, self.world.weather
        arrival = Arrival(world.now, host, tuple(str(one["track_id"]) for one in items))
        world.note(f"bank hears {host}: pay {' '.join(arrival.track_ids)}")
        self.arrivals.append(arrival)
        self.watch(arrival)
        refusal = self._refusal(items)
        if refusal is not None:
            world.note(f"bank refuses: {refusal}")
            for track_id in arrival.track_ids:
                self.refused[track_id].append(arrival)
            fields = {"transfers": ["destination"]} if refusal == 10 else None
            body = {"status": refusal, "message": "refused", "data": fields}
            return world.dice.choice((200, 400)), {}, json.dumps(body).encode()
        words: list[dict[str, object]] = []
        for number, item in enumerate(items, 1):
            word = self._take(number, item, arrival)
            if word is not None:
                words.append(word)
        self._charge(items)
        taken = len(words) == len(items)
        if world.chance(weather.silent):
            return None
        if world.chance(weather.nonsense):
            return world.dice.choice(NONSENSE if self.wallet else (*NONSENSE, UNREADABLE))
        if world.chance(weather.integrity) and words:
            words.append(self._contradiction(world.dice.choice(words)))
        world.dice.shuffle(words)
        if self.wallet:
            return _ok({}, status=1) if taken else None
        return _ok(words[0] if len(words) == 1 else words)

    def _refusal(self, items: Sequence[Mapping[str, Any]]) -> int | None:
        world, weather = self.world, self.world.weather
        if self.halted or world.chance(weather.halt):
            self.halted = True
            return world.dice.choice(REFUSALS)
        if world.chance(weather.auth):
            return 4
        if any(POISON in str(one["destination_lastname"]) for one in items):
            return 10
        total: defaultdict[str, int] = defaultdict(int)
        for one in items:
            total[str(one.get("deposit", HASHID))] += int(one["amount"])
        short = any(self.balances.setdefault(account, self.opening) < needed for account, needed in total.items())
        return 9 if short else None

    def refill(self) -> None:
        """Somebody puts money into the accounts, and has the application unlocked."""
        self.halted = False
        for account in self.balances:
            self.balances[account] = 10**12

    def _charge(self, items: Sequence[Mapping[str, Any]]) -> None:
        for one in items:
            self.balances[str(one.get("deposit", HASHID))] -= int(one["amount"])

    def _take(self, number: int, item: Mapping[str, Any], arrival: Arrival) -> dict[str, object] | None:
        """Carry one out, now, later or not at all; what is said of it."""
        world, weather = self.world, self.world.weather
        if world.chance(weather.partial):
            return None
        if world.chance(weather.late):
            delay = world.dice.random() * weather.lateness
            world.later(delay, lambda: self._execute(number, item, arrival))
            return None
        return self.word(self._execute(number, item, arrival), world.now)

    def _execute(self, number: int, item: Mapping[str, Any], arrival: Arrival) -> Execution:
        world, weather = self.world, self.world.weather
        takes = world.dice.choice((0.0, 30.0, 3600.0)) * world.dice.random()
        ends = world.now + takes
        execution = Execution(
            at=world.now,
            asked=item,
            number=number,
            arrival=arrival,
            ends=ends,
            fails=world.chance(weather.fails),
            reversed_at=ends + 3600 * world.dice.random() if world.chance(weather.reverses) else float("inf"),
            listed_at=world.now + (world.dice.random() * weather.lateness if world.chance(weather.late) else 0.0),
        )
        self.executed[execution.track_id].append(execution)
        world.note(f"bank pays {execution.track_id}")
        return execution

    # what it says

    def word(self, execution: Execution, when: float) -> dict[str, object]:
        """What it says of a transfer, as of a moment."""
        track_id = execution.track_id
        stored = f"{HASHID}*{track_id}*{execution.number}" if self.wallet else track_id
        status = execution.status(when)
        return {
            "hashid": f"h-{track_id}-{self.executed[track_id].index(execution)}",
            "track_id": stored,
            "status": status,
            "message": status,
            "ref_code": f"r-{track_id}" if status == "success" else None,
            **(
                {name: execution.asked[name] for name in ("amount", "deposit", "destination_account")}
                if not self.wallet
                else {}
            ),
        }

    def _contradiction(self, word: dict[str, object]) -> dict[str, object]:
        self.muddled.add(own(str(word["track_id"])))
        return {**word, "status": "failed" if word["status"] != "failed" else "success"}

    def find(self, query: Mapping[str, str]) -> Raw | None:
        """Answer a question; None is no answer."""
        world, weather = self.world, self.world.weather
        if world.chance(weather.ask):
            return world.dice.choice((None, UNREADABLE, *NONSENSE))
        when = world.now - (QUIET / 5 * world.dice.random() if world.chance(weather.stale) else 0.0)
        track_id = query.get("track_id")
        chosen = (
            self.executed.get(track_id, []) if track_id else [one for some in self.executed.values() for one in some]
        )
        listed = [one for one in chosen if one.at <= when and one.listed_at <= when]
        if "deposit" in query:
            listed = [one for one in listed if one.asked.get("deposit") == query["deposit"]]
        listed.sort(key=lambda one: -one.at)
        skip, limit = int(query.get("skip", 0)), int(query.get("limit", 20))
        if track_id and not listed:
            self.not_found[track_id].append(world.now)
        return _ok([self.word(one, when) for one in listed[skip : skip + limit]], status=1 if self.wallet else "ok")


class SimEngine:
    """The way from one of our processes to the bank; it says when a request leaves."""

    fences = True

    def __init__(self, bank: Bank, host: Host) -> None:
        self._bank, self._host = bank, host

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> Raw:
        world, host, bank = self._bank.world, self._host, self._bank
        if timeout <= 0:
            raise NotSent("no time was left to send it")
        ends = world.now + timeout
        await host.step("connects")
        if world.chance(world.weather.refused):
            raise NotSent("not connected")
        if world.chance(world.weather.slow):
            await self._wait(world.dice.random() * 2 * timeout, ends, NotSent("not connected in time"))
        if world.chance(world.weather.held):
            host.stand_still(world.dice.random() * QUIET / 5)
        await host.step("is about to send")
        if before_send is not None:
            before_send()
        if method == "POST":
            await self._at_the_fence(timeout)
        await asyncio.sleep(world.dice.random() * 0.2)
        if method == "POST":
            reply = bank.pay(host.name, json.loads(body or b"{}")["transfers"])
        else:
            reply = bank.find({name: texts[0] for name, texts in parse_qs(urlsplit(url).query).items()})
        if reply is None:
            await self._wait(world.dice.choice((0.0, 2 * timeout)), ends, Unanswered("no answer in time"))
            raise Unanswered("the connection broke")
        await self._wait(
            world.dice.choice((0.1, 0.1, 1.0, timeout)) * world.dice.random(), ends, Unanswered("too late")
        )
        await host.step("has an answer")
        if method == "POST" and reply[0] == 200 and reply not in (*NONSENSE, UNREADABLE):
            bank.answered(host, json.loads(reply[2]))
        return reply

    async def _at_the_fence(self, timeout: float) -> None:
        """What no program can close: between the last look at the clock and the first byte lies a moment."""
        world, host = self._bank.world, self._host
        if world.chance(world.weather.crash):
            host.die("the fence")
        if world.chance(world.weather.stall):
            host.stand_still(world.dice.random() * timeout / 2)
        await host.awake()

    async def _wait(self, seconds: float, ends: float, error: Exception) -> None:
        left = ends - self._bank.world.now
        await asyncio.sleep(max(0.0, min(seconds, left)))
        await self._host.awake()
        if seconds > left:
            raise error

    async def aclose(self) -> None:
        pass


def _ok(data: object, *, status: int | str = "ok") -> Raw:
    return 200, {}, json.dumps({"status": status, "message": "ok", "data": data}).encode()


def own(stored: str) -> str:
    """A track_id without what the wallet service puts around it."""
    return stored.removeprefix(f"{HASHID}*").rpartition("*")[0] if "*" in stored else stored
