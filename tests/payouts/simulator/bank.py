"""A faulty simulated bank: late, silent, stale and repeating – but what its readable responses report is true.

Most banks pay a repeated ``track_id`` again: code that relies on the bank to notice is caught. The others refuse the
repeat with a ``failed`` entry that does not describe the paid transfer: code that takes that as the result is caught.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import define, field, frozen

from tests.payouts.simulator.world import QUIET_SECONDS, SPACING_SECONDS, Host, World

Raw = tuple[int, Mapping[str, str], bytes]
HASHID = "w123"
REFUSALS = (2, 3, 6, 7, 8, 12)
POISON = "poison"
BROKEN_RESPONSES: tuple[Raw, ...] = (
    (502, {}, b"<html>bad gateway</html>"),
    (200, {}, b'{"status": "ok", "data": [{"track'),
    (500, {}, b'{"status": 0, "message": "internal server error", "data": null}'),
    (200, {}, b'{"status": 11, "message": "upstream", "data": null}'),
    (429, {"retry-after": "1"}, b'{"message": "Too Many Attempts."}'),
    (307, {"location": "https://elsewhere.example/"}, b""),
    (200, {}, b"[]"),
    (408, {}, b""),
)
UNREADABLE_RESPONSE: Raw = (200, {}, b'{"status": "ok", "message": "ok", "data": "what"}')
"""For a wallet's request to pay, this response means accepted."""


@frozen
class PayRequest:
    """A request to pay that reached the bank."""

    at: float
    host: str
    track_ids: tuple[str, ...]


@define(eq=False)
class Execution:
    """A payment of the bank.

    Attributes:
        at: when the bank executed the transfer.
        item: the transfer in its request.
        number: its number in its request.
        request: the request.
        decided_at: when the bank decides.
        fails: whether the transfer fails.
        reversed_at: when the transfer is reversed.
        listed_at: when the bank begins to list the transfer.
        is_promptly_listed: whether every look-up after ``listed_at`` finds the transfer, even in an older copy.
    """

    at: float
    item: Mapping[str, Any]
    number: int
    request: PayRequest
    decided_at: float
    fails: bool
    reversed_at: float
    listed_at: float
    is_promptly_listed: bool = False

    @property
    def track_id(self) -> str:
        return str(self.item["track_id"])

    def status(self, now: float) -> str:
        if now < self.decided_at:
            return "pending"
        return "failed" if self.fails or now >= self.reversed_at else "success"


@frozen
class Repeat:
    """A repeated transfer that the bank refused.

    Attributes:
        at: when it was refused.
        item: the transfer in its request.
        number: its number in its request.
        hashid: the bank's hashid of the refused repeat.
    """

    at: float
    item: Mapping[str, Any]
    number: int
    hashid: str


@define(eq=False)
class Repeats:
    """How the bank treats a track_id that it has paid before.

    Attributes:
        refused: whether the bank refuses repeats; other banks pay them again.
        listed: whether the list has refused repeats, as failed entries with their own hashids.
        entries: the refused repeats by track_id.
    """

    refused: bool = False
    listed: bool = False
    entries: defaultdict[str, list[Repeat]] = field(factory=lambda: defaultdict[str, list[Repeat]](list))


@define(eq=False)
class Bank:
    """The simulated bank.

    Attributes:
        world: the world of the seed.
        wallet: whether the transfers are wallet payouts.
        requests: the requests to pay, in order.
        executed: the executions, by track_id.
        not_found: the times of look-ups without a result, by track_id.
        refused: the requests that were refused as a whole, by track_id.
        contradicted: the track_ids about which the bank contradicted itself.
        opening: the balance of each account at the start, in Rial.
        repeats: how the bank treats a repeated track_id.
        hashid_style: whether each transfer has its own hashid, the hashid of its request, or an empty one.
        caught_up_at: all requests until then are executed and listed.
        on_request: called when a request to pay arrives.
        on_response: called when a process has received a readable response.
    """

    world: World
    wallet: bool
    opening: int
    on_request: Callable[[PayRequest], object]
    on_response: Callable[[Host, Mapping[str, Any]], object] = field(init=False)
    requests: list[PayRequest] = field(factory=list[PayRequest])
    executed: defaultdict[str, list[Execution]] = field(factory=lambda: defaultdict[str, list[Execution]](list))
    not_found: defaultdict[str, list[float]] = field(factory=lambda: defaultdict[str, list[float]](list))
    refused: defaultdict[str, list[PayRequest]] = field(factory=lambda: defaultdict[str, list[PayRequest]](list))
    contradicted: set[str] = field(factory=set[str])
    balances: dict[str, int] = field(factory=dict[str, int])
    is_suspended: bool = False
    repeats: Repeats = field(factory=Repeats)
    hashid_style: Literal["own", "shared", "none"] = "own"
    caught_up_at: float = 0.0
    _delayed: list[Callable[[], Execution]] = field(factory=list[Callable[[], Execution]])

    def pay(self, host: str, items: Sequence[Mapping[str, Any]]) -> Raw | None:
        """Handle a request to pay; return the response, or None for no response."""
        world, rates = self.world, self.world.fault_rates
        request = PayRequest(world.now, host, tuple(str(item["track_id"]) for item in items))
        world.note(f"bank receives from {host}: pay {' '.join(request.track_ids)}")
        self.requests.append(request)
        self.on_request(request)
        refusal = self._refusal(items)
        if refusal is not None:
            world.note(f"bank refuses: {refusal}")
            for track_id in request.track_ids:
                self.refused[track_id].append(request)
            if refusal != 4 and len(items) > 1 and world.chance(rates.partial_refusal):
                self._execute_some(items, request)
            fields = {"transfers": ["destination"]} if refusal == 10 else None
            body = {"status": refusal, "message": "refused", "data": fields}
            return world.rng.choice((200, 400)), {}, json.dumps(body).encode()
        entries: list[dict[str, object]] = []
        for number, item in enumerate(items, 1):
            entry = self._accept_item(number, item, request)
            if entry is not None:
                entries.append(entry)
        taken = len(entries) == len(items)
        if world.chance(rates.no_response):
            return None
        if world.chance(rates.broken_response):
            return world.rng.choice(BROKEN_RESPONSES if self.wallet else (*BROKEN_RESPONSES, UNREADABLE_RESPONSE))
        if world.chance(rates.contradiction) and entries:
            entries.append(self._contradiction(world.rng.choice(entries)))
        world.rng.shuffle(entries)
        if self.wallet:
            return _ok({}, status=1) if taken else None
        return _ok(entries[0] if len(entries) == 1 else entries)

    def _refusal(self, items: Sequence[Mapping[str, Any]]) -> int | None:
        world, rates = self.world, self.world.fault_rates
        if self.is_suspended or world.chance(rates.suspension):
            self.is_suspended = True
            return world.rng.choice(REFUSALS)
        if world.chance(rates.key_refusal):
            return 4
        if any(map(_is_bad, items)):
            return 10
        total: defaultdict[str, int] = defaultdict(int)
        for item in items:
            total[str(item.get("deposit", HASHID))] += int(item["amount"])
        short = any(self.balances.setdefault(account, self.opening) < needed for account, needed in total.items())
        return 9 if short else None

    def refill(self) -> None:
        """Put money into the accounts and unlock the application."""
        self.is_suspended = False
        for account in self.balances:
            self.balances[account] = 10**12

    def _execute_some(self, items: Sequence[Mapping[str, Any]], request: PayRequest) -> None:
        """Execute some transfers of a request that is refused as a whole.

        assumed: the bank's list shows them within the spacing of two look-ups, however late it shows others. Otherwise
        an executed transfer of a refused request could not be recognised.
        """
        world = self.world
        world.note("bank executes some of the refused transfers")
        valid = [(number, item) for number, item in enumerate(items, 1) if not _is_bad(item)]
        for number, item in valid[: world.rng.randint(1, len(items))]:
            if not self._is_refused_repeat(item):
                self._execute(number, item, request, listed_within=SPACING_SECONDS)

    def _accept_item(self, number: int, item: Mapping[str, Any], request: PayRequest) -> dict[str, object] | None:
        """Execute a transfer now, later or never; return its response."""
        world, rates = self.world, self.world.fault_rates
        if world.chance(rates.skipped_item):
            return None
        if self._is_refused_repeat(item):
            return self._refuse_repeat(number, item)
        if world.chance(rates.late_execution):
            self._delay(lambda: self._execute(number, item, request))
            return None
        return self.status_entry(self._execute(number, item, request), world.now)

    def _is_refused_repeat(self, item: Mapping[str, Any]) -> bool:
        return self.repeats.refused and bool(self.executed.get(str(item["track_id"])))

    def _refuse_repeat(self, number: int, item: Mapping[str, Any]) -> dict[str, object]:
        track_id = str(item["track_id"])
        entries = self.repeats.entries[track_id]
        repeat = Repeat(self.world.now, item, number, f"d-{track_id}-{len(entries)}")
        entries.append(repeat)
        self.world.note(f"bank refuses the repeat of {track_id}")
        if self.hashid_style == "none" and self.repeats.listed:
            self.contradicted.add(track_id)  # two entries that cannot be distinguished, and only one of them failed
        return self._refused_repeat(repeat)

    def _delay(self, execute: Callable[[], Execution]) -> None:
        def act() -> None:
            if execute in self._delayed:
                self._delayed.remove(execute)
                execute()

        self._delayed.append(execute)
        self.world.call_later(self.world.rng.random() * self.world.fault_rates.max_delay_seconds, act)

    def catch_up(self) -> None:
        """Execute and list all requests so far.

        assumed: a ledger that lost records is used again only after that. A payment that neither the bank lists nor the
        ledger has on record cannot be known.
        """
        delayed, self._delayed = self._delayed, []
        for execute in delayed:
            execute()
        for executions in self.executed.values():
            for execution in executions:
                execution.listed_at = min(execution.listed_at, self.world.now)
        self.caught_up_at = self.world.now

    def _execute(
        self, number: int, item: Mapping[str, Any], request: PayRequest, *, listed_within: float | None = None
    ) -> Execution:
        world, rates = self.world, self.world.fault_rates
        account = str(item.get("deposit", HASHID))
        self.balances[account] = self.balances.get(account, self.opening) - int(item["amount"])
        takes = world.rng.choice((0.0, 30.0, 3600.0)) * world.rng.random()
        ends = world.now + takes
        execution = Execution(
            at=world.now,
            item=item,
            number=number,
            request=request,
            decided_at=ends,
            fails=world.chance(rates.bank_failure),
            reversed_at=ends + 3600 * world.rng.random() if world.chance(rates.reversal) else float("inf"),
            listed_at=world.now + self._listing_delay(listed_within),
            is_promptly_listed=listed_within is not None,
        )
        self.executed[execution.track_id].append(execution)
        world.note(f"bank pays {execution.track_id}")
        return execution

    def _listing_delay(self, listed_within: float | None) -> float:
        world, rates = self.world, self.world.fault_rates
        if listed_within is not None:
            return world.rng.choice((0.0, listed_within * world.rng.random()))
        return world.rng.random() * rates.max_delay_seconds if world.chance(rates.late_execution) else 0.0

    def status_entry(self, execution: Execution, when: float) -> dict[str, object]:
        """Return the bank's status of a transfer at a moment."""
        track_id = execution.track_id
        status = execution.status(when)
        return {
            **self._request_fields(execution.item, execution.number),
            "hashid": self._hashid(execution),
            "status": status,
            "message": status,
            "ref_code": f"r-{track_id}" if status == "success" else None,
        }

    def _hashid(self, execution: Execution) -> str:
        """Return the hashid of an execution; some banks have one for each request, some have none."""
        if self.hashid_style == "none":
            return ""
        if self.hashid_style == "shared":
            return f"h-{self.requests.index(execution.request)}"
        track_id = execution.track_id
        return f"h-{track_id}-{self.executed[track_id].index(execution)}"

    def statement(self, track_id: str) -> Literal["success", "failed"] | None:
        """Return what the statement of the account says of a transfer; None while it may still change."""
        now = self.world.now
        executions = self.executed[track_id]
        sent = [request.at for request in self.requests if track_id in request.track_ids]
        if sent and now < max(sent) + self.world.fault_rates.max_delay_seconds + QUIET_SECONDS:
            return None
        if any(now < execution.decided_at for execution in executions):
            return None
        return "success" if any(execution.status(now) == "success" for execution in executions) else "failed"

    def _contradiction(self, entry: dict[str, object]) -> dict[str, object]:
        self.contradicted.add(own_track_id(str(entry["track_id"])))
        return {**entry, "status": "failed" if entry["status"] != "failed" else "success"}

    def find(self, query: Mapping[str, str]) -> Raw | None:
        """Handle a look-up; return the response, or None for no response."""
        world, rates = self.world, self.world.fault_rates
        if world.chance(rates.look_up_failure):
            return world.rng.choice((None, UNREADABLE_RESPONSE, *BROKEN_RESPONSES))
        when = world.now - (QUIET_SECONDS / 5 * world.rng.random() if world.chance(rates.stale_look_up) else 0.0)
        when = max(when, self.caught_up_at)
        track_id = query.get("track_id")
        entries = self._listed(track_id, query.get("deposit"), when)
        if track_id and not entries:
            if world.chance(rates.foreign_entry):
                world.note(f"bank lists another transfer for {track_id}")
                return _ok([_FOREIGN], status=1 if self.wallet else "ok")
            self.not_found[track_id].append(world.now)
        skip, limit = int(query.get("skip", 0)), int(query.get("limit", 20))
        return _ok(entries[skip : skip + limit], status=1 if self.wallet else "ok")

    def _listed(self, track_id: str | None, deposit: str | None, when: float) -> list[dict[str, object]]:
        """Return the entries of the bank's list, newest first, as of a moment."""
        dated_entries: list[tuple[float, dict[str, object]]] = []
        for name in [track_id] if track_id else list(self.executed):
            for execution in self.executed.get(name, []):
                at = self.world.now if execution.is_promptly_listed else when
                if (
                    execution.at <= at
                    and execution.listed_at <= at
                    and deposit in (None, execution.item.get("deposit"))
                ):
                    dated_entries.append((execution.at, self.status_entry(execution, at)))
            for repeat in self.repeats.entries.get(name, []) if self.repeats.listed else []:
                if repeat.at <= when and deposit in (None, repeat.item.get("deposit")):
                    dated_entries.append((repeat.at, self._refused_repeat(repeat)))
        return [entry for _, entry in sorted(dated_entries, key=lambda entry: -entry[0])]

    def _refused_repeat(self, repeat: Repeat) -> dict[str, object]:
        """Return the entry of a refused repeat."""
        return {
            **self._request_fields(repeat.item, repeat.number),
            "hashid": "" if self.hashid_style == "none" else repeat.hashid,
            "status": "failed",
            "message": "duplicate track_id",
            "ref_code": None,
        }

    def _request_fields(self, item: Mapping[str, Any], number: int) -> dict[str, object]:
        """Return the fields of a transfer that its entry repeats."""
        track_id = str(item["track_id"])
        if self.wallet:
            return {"track_id": f"{HASHID}*{track_id}*{number}"}
        return {
            "track_id": track_id,
            **{name: item[name] for name in ("amount", "deposit", "destination_account")},
        }


_FOREIGN: Mapping[str, object] = {
    "hashid": "f-1",
    "track_id": None,
    "status": "success",
    "message": "success",
    "ref_code": "r-f",
}


def _is_bad(item: Mapping[str, Any]) -> bool:
    return POISON in str(item["destination_lastname"])


def _ok(data: object, *, status: int | str = "ok") -> Raw:
    return 200, {}, json.dumps({"status": status, "message": "ok", "data": data}).encode()


def own_track_id(stored: str) -> str:
    """Return a track_id without the parts that the wallet service adds."""
    return stored.removeprefix(f"{HASHID}*").rpartition("*")[0] if "*" in stored else stored
