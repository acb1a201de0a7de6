"""Credentials and requests of every endpoint, for the tests of encoder, decoder and sender."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from paystar_async.credentials import Application, Credentials, Gateway, Wallet
from paystar_async.endpoint import Endpoint, Request
from paystar_async.models.base import Call
from paystar_async.response import Response
from paystar_async.table import BY_ID, BY_REQUEST, TABLE
from paystar_async.transport.decoder import ResponseDecoder
from paystar_async.transport.encoder import EncodedRequest, RequestEncoder
from paystar_async.values.secret import Secret
from tests.describe.endpoints import example_values

BASE = "https://paystar.example/api"
SIGN_KEY = "test-sign-key"
APPLICATION = Application(id=77, access_password="p&ss=1", api_key="app-key", refresh_token="app-refresh")
GATEWAY = Gateway(id="gateway-1", sign_key=SIGN_KEY)
WALLET = Wallet(hashid="w123", password="p@ss", sign_key=SIGN_KEY, api_key="wallet-key", refresh_token="wallet-refresh")
CREDENTIALS = Credentials(application=APPLICATION, gateway=GATEWAY, wallet=WALLET)
KEY = Secret("the-key")
CALLS = [endpoint for endpoint in TABLE if endpoint.kind == "call"]


def hmac_sha512(message: str, key: str = SIGN_KEY) -> str:
    return hmac.new(key.encode(), message.encode(), hashlib.sha512).hexdigest()


def make_request(value: Call[Any], key: Secret | None = KEY) -> Request[Any]:
    return Request(value=value, endpoint=BY_REQUEST[type(value)], account="account", timeout=5, key=key)


def example_request(endpoint: Endpoint | str) -> Call[Any]:
    """Return the endpoint's request with a value in each field."""
    request = (BY_ID[endpoint] if isinstance(endpoint, str) else endpoint).request
    return request(**example_values(request))


def minimal_request(endpoint: Endpoint) -> Call[Any]:
    """Return the endpoint's request with only its required fields."""
    values = example_values(endpoint.request)
    return endpoint.request(**{name: values[name] for name in values if _is_required(endpoint.request, name)})


def _is_required(request: type, name: str) -> bool:
    from paystar_async.models.base import fields_of

    return next(info.required for info in fields_of(request) if info.name == name)


def encode(value: Call[Any], credentials: Credentials = CREDENTIALS, key: Secret | None = KEY) -> EncodedRequest:
    return RequestEncoder(credentials, BASE).encode(make_request(value, key))


def fields_in(encoded: EncodedRequest) -> dict[str, Any]:
    """Return the fields in the query or in the body."""
    if encoded.body is None:
        return dict(parse_qsl(urlsplit(encoded.url).query, keep_blank_values=True, strict_parsing=True))
    assert urlsplit(encoded.url).query == ""
    fields: dict[str, Any] = json.loads(encoded.body)
    return fields


def decode(
    endpoint: Endpoint | str, body: bytes, http_status: int = 200, headers: Mapping[str, str] | None = None
) -> Response[Any]:
    """Return the body decoded as the endpoint's response."""
    return ResponseDecoder(CREDENTIALS.secrets()).decode(
        make_request(example_request(endpoint)), http_status, headers or {}, body
    )


def envelope(status: object, data: object = None, message: object = "", **other_fields: object) -> bytes:
    return json.dumps({"status": status, "message": message, "data": data, **other_fields}).encode()
