"""A merchant of no SDK: plain HTTP, signed by hand, so that the sandbox is not tested with the client it serves."""

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

import httpx

from paystar_async.accounts import Accounts, signature
from paystar_async.clock import ManualClock
from paystar_async.models.base import fields_of
from paystar_async.sandbox import Sandbox
from paystar_async.table import BY_ID
from paystar_async.values.secret import Secret


class Merchant:
    """Calls rows of the table as a program without this package would.

    ``call`` adds who asks, the key and the signature; a field given as ``...`` is left out.
    """

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self.sandbox = sandbox or Sandbox(clock=ManualClock())
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.sandbox.app), base_url="http://localhost/api")

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.sandbox.clock, ManualClock)
        return self.sandbox.clock

    @property
    def accounts(self) -> Accounts:
        sandbox = self.sandbox
        return Accounts(application=sandbox.application, gateway=sandbox.gateway, wallet=sandbox.wallet)

    async def send(
        self,
        row_id: str,
        fields: Mapping[str, object] | None = None,
        *,
        bearer: str | None = None,
        path: str | None = None,
        form: bool = False,
        unsent: Mapping[str, object] | None = None,
    ) -> httpx.Response:
        row, accounts = BY_ID[row_id], self.accounts
        key = accounts.first_key(row.realm)[0]
        bearer = bearer if bearer is not None else f"Bearer {key.reveal()}" if key else ""
        said: dict[str, object] = dict(accounts.credentials(row.realm, row.method))
        if row.renews:
            said[row.renews] = accounts.first_key(row.realm)[1]
        said |= fields or {}
        sign_key = accounts.sign_key(row.realm)
        plain = {name: one.reveal() if isinstance(one, Secret) else one for name, one in said.items() if one is not ...}
        if (
            row.sign
            and sign_key is not None
            and "sign" not in plain
            and (unsent is not None or row.id != "gateway.inquiry")
        ):
            plain["sign"] = signature(sign_key, ((plain | dict(unsent or {})).get(name) for name in row.sign))
        path = path or row.paths[0]
        headers = {"authorization": bearer}
        if row.method == "GET":
            return await self.http.get(f"{path}?{urlencode(plain)}", headers=headers)
        if form:
            return await self.http.post(path, data=cast("dict[str, Any]", plain), headers=headers)
        return await self.http.post(
            path, content=json.dumps(plain), headers=headers | {"content-type": "application/json"}
        )

    async def call(self, row_id: str, /, **fields: object) -> dict[str, Any]:
        """The envelope of an answer."""
        return envelope(await self.send(row_id, fields))

    async def data(self, row_id: str, /, **fields: object) -> Any:
        """The data of a success; anything else is a failed test."""
        answer = await self.call(row_id, **fields)
        assert answer["status"] in (1, "ok"), answer
        return answer["data"]

    async def created(self, amount: int = 10_000, order_id: str = "order-1", **fields: object) -> dict[str, Any]:
        """A payment waiting for its payer."""
        callback = fields.pop("callback", "https://shop.example/back")
        data: dict[str, Any] = await self.data(
            "gateway.create", amount=amount, order_id=order_id, callback=callback, **fields
        )
        return data

    async def verify(self, callback: Mapping[str, str], amount: int = 10_000) -> dict[str, Any]:
        """Verify as the rules say: the masked card and the tracking code are signed, and not sent."""
        unsent = {"card_number": callback.get("card_number"), "tracking_code": callback.get("tracking_code")}
        fields = {"ref_num": callback["ref_num"], "amount": amount}
        return envelope(await self.send("gateway.verify", fields, unsent=unsent))

    def transfer(self, track_id: str = "t1", amount: int = 1_000, **fields: object) -> dict[str, object]:
        """One bank transfer."""
        return {
            "amount": amount,
            "deposit": "0111234567890",
            "destination_account": self.sandbox.people[0].iban,
            "destination_firstname": "Ali",
            "destination_lastname": "Moradi",
            "track_id": track_id,
        } | fields

    def payout(self, track_id: str = "w1", amount: int = 1_000, **fields: object) -> dict[str, object]:
        """One wallet transfer."""
        return {
            "amount": amount,
            "destination_number": self.sandbox.people[0].iban,
            "destination_firstname": "Ali",
            "destination_lastname": "Moradi",
            "track_id": track_id,
        } | fields

    async def settle(self, *transfers: Mapping[str, object]) -> Any:
        return await self.data("transfers.settle", transfers=transfers)

    async def balance(self, account: str = "0111234567890") -> int:
        data = await self.data("transfers.balance", account_number=account)
        assert data["balance"] == data["available_balance"]
        return int(data["balance"])


def envelope(answer: httpx.Response) -> dict[str, Any]:
    content = answer.json()
    assert isinstance(content, dict)
    return cast("dict[str, Any]", content)


def example_fields(row_id: str) -> dict[str, object]:
    """A call's fields, each the example of its kind; list items too."""
    return _examples(BY_ID[row_id].request)


def _examples(cls: type) -> dict[str, object]:
    fields: dict[str, object] = {}
    for one in fields_of(cls):
        if one.required and one.sent and one.kind is not None:
            fields[one.name] = [_examples(one.item)] if one.item else one.kind.example
    return fields
