"""A client without the SDK: plain HTTP, signed by hand, so that the sandbox is not tested with its own client."""

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

import httpx

from paystar_async.credentials import Credentials, signature
from paystar_async.models.base import fields_of
from paystar_async.runtime.clock import ManualClock
from paystar_async.sandbox import Sandbox
from paystar_async.table import BY_ID
from paystar_async.values.secret import Secret

CREATE_FIELDS: dict[str, object] = {"amount": 10_000, "order_id": "1", "callback": "https://shop.example/"}
FORM_TYPE = "application/x-www-form-urlencoded"
BROWSER_HEADERS = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class RawClient:
    """A client of the sandbox without this package's client.

    ``call`` adds credentials, key and signature; a field with the value ``...`` is not sent.
    """

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self.sandbox = sandbox or Sandbox(clock=ManualClock())
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.sandbox.app), base_url="http://localhost/api")

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.sandbox.clock, ManualClock)
        return self.sandbox.clock

    @property
    def credentials(self) -> Credentials:
        sandbox = self.sandbox
        return Credentials(application=sandbox.application, gateway=sandbox.gateway, wallet=sandbox.wallet)

    async def send(
        self,
        endpoint_id: str,
        fields: Mapping[str, object] | None = None,
        *,
        bearer: str | None = None,
        path: str | None = None,
        form: bool = False,
        unsent: Mapping[str, object] | None = None,
    ) -> httpx.Response:
        endpoint, credentials = BY_ID[endpoint_id], self.credentials
        key = credentials.initial_token(endpoint.realm)[0]
        bearer = bearer if bearer is not None else f"Bearer {key.reveal()}" if key else ""
        values: dict[str, object] = dict(credentials.identification_fields(endpoint.realm, endpoint.method))
        if endpoint.refresh_token_field:
            values[endpoint.refresh_token_field] = credentials.initial_token(endpoint.realm)[1]
        values |= fields or {}
        sign_key = credentials.sign_key(endpoint.realm)
        body = {name: reveal(value) for name, value in values.items() if value is not ...}
        if (
            endpoint.signed_fields
            and sign_key is not None
            and "sign" not in body
            and (unsent is not None or endpoint.id != "gateway.inquiry")
        ):
            body["sign"] = signature(
                sign_key, ((body | dict(unsent or {})).get(name) for name in endpoint.signed_fields)
            )
        path = path or endpoint.paths[0]
        headers = {"authorization": bearer}
        if endpoint.method == "GET":
            return await self.http.get(f"{path}?{urlencode(body)}", headers=headers)
        if form:
            return await self.http.post(path, data=cast("dict[str, Any]", body), headers=headers)
        return await self.http.post(
            path, content=json.dumps(body), headers=headers | {"content-type": "application/json"}
        )

    async def call(self, endpoint_id: str, /, **fields: object) -> dict[str, Any]:
        """Call an endpoint and return the response's envelope."""
        return envelope(await self.send(endpoint_id, fields))

    async def data(self, endpoint_id: str, /, **fields: object) -> Any:
        """Call an endpoint and return the data of its successful response."""
        response = await self.call(endpoint_id, **fields)
        assert response["status"] in (1, "ok"), response
        return response["data"]

    async def create_payment(self, amount: int = 10_000, order_id: str = "order-1", **fields: object) -> dict[str, Any]:
        """Create a payment and return the response's data."""
        callback = fields.pop("callback", "https://shop.example/back")
        data: dict[str, Any] = await self.data(
            "gateway.create", amount=amount, order_id=order_id, callback=callback, **fields
        )
        return data

    async def verify(self, callback: Mapping[str, str], amount: int = 10_000) -> dict[str, Any]:
        """Verify a payment; the masked card and the tracking code are signed and not sent."""
        unsent = {"card_number": callback.get("card_number"), "tracking_code": callback.get("tracking_code")}
        fields = {"ref_num": callback["ref_num"], "amount": amount}
        return envelope(await self.send("gateway.verify", fields, unsent=unsent))

    def transfer(self, track_id: str = "t1", amount: int = 1_000, **fields: object) -> dict[str, object]:
        """Return the fields of a bank transfer."""
        return {
            "amount": amount,
            "deposit": "0111234567890",
            "destination_account": self.sandbox.people[0].iban,
            "destination_firstname": "Ali",
            "destination_lastname": "Moradi",
            "track_id": track_id,
        } | fields

    def wallet_transfer(self, track_id: str = "w1", amount: int = 1_000, **fields: object) -> dict[str, object]:
        """Return the fields of a wallet transfer."""
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


def reveal(value: object) -> object:
    return value.reveal() if isinstance(value, Secret) else value


def envelope(response: httpx.Response) -> dict[str, Any]:
    content = response.json()
    assert isinstance(content, dict)
    return cast("dict[str, Any]", content)


def example_fields(endpoint_id: str) -> dict[str, object]:
    """Return the required fields of a call, each with the example of its type."""
    return _examples(BY_ID[endpoint_id].request)


def _examples(cls: type) -> dict[str, object]:
    fields: dict[str, object] = {}
    for model_field in fields_of(cls):
        if model_field.required and model_field.sent and model_field.field_type is not None:
            fields[model_field.name] = (
                [_examples(model_field.item)] if model_field.item else model_field.field_type.example
            )
    return fields


async def get_control(raw_client: RawClient, name: str) -> dict[str, Any]:
    response = await raw_client.http.get(f"http://localhost/_sandbox/{name}")
    assert response.status_code == 200, response.text
    return envelope(response)


async def post_control(raw_client: RawClient, control: str, http: int = 200, **fields: object) -> dict[str, Any]:
    response = await raw_client.http.post(f"http://localhost/_sandbox/{control}", json=fields)
    assert response.status_code == http, response.text
    return envelope(response)


async def open_page(raw_client: RawClient, token: str, **params: str) -> httpx.Response:
    return await raw_client.http.get("/pardakht/payment", params={"token": token, **params})


async def press(raw_client: RawClient, token: str, origin: str | None = None, **fields: str) -> httpx.Response:
    headers = {} if origin is None else {"origin": origin}
    return await raw_client.http.post("/pardakht/payment", data={"token": token, **fields}, headers=headers)


def sign_create(raw_client: RawClient, amount: int = 10_000, order_id: str = "1") -> str:
    key = raw_client.sandbox.gateway.sign_key
    assert key
    return signature(key, (amount, order_id, CREATE_FIELDS["callback"]))


async def post_create(
    raw_client: RawClient, body: str | bytes, content_type: str | None, scheme: str = "Bearer"
) -> httpx.Response:
    """Post a create call with this body."""
    headers = {"authorization": f"{scheme} {raw_client.sandbox.gateway.id.reveal()}"}
    if content_type is not None:
        headers["content-type"] = content_type
    return await raw_client.http.post("/pardakht/create", content=body, headers=headers)
