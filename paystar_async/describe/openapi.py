"""``openapi.json``: the table as an OpenAPI 3.1 document, for other languages and for tools.

It describes the wire, so it says what is added to a request value on its way: who asks, the signature, and the
refresh token on a row that renews a key.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from paystar_async.accounts import Accounts, Application, Gateway, Wallet
from paystar_async.describe import (
    Table,
    describe_safety,
    docstring_summary,
    endpoints_by_service,
    nested_models,
    path_variants,
    response_model_for,
    service_summary,
    to_markdown,
)
from paystar_async.describe.schemas import model_schema, request_field_schema, response_data_schema
from paystar_async.endpoint import Endpoint, Realm
from paystar_async.errors import BY_STATUS, GatewayError
from paystar_async.models.base import fields_of
from paystar_async.settings import BASE_URL
from paystar_async.table import TABLE
from paystar_async.version import VERSION

Json = dict[str, Any]

SANDBOX_PORT = "8000"
SERVERS: Sequence[Json] = (
    {"url": BASE_URL, "description": "the live service"},
    {
        "url": "http://127.0.0.1:{port}/api",
        "description": "the sandbox: `paystar sandbox`",
        "variables": {"port": {"default": SANDBOX_PORT}},
    },
)
SECURITY_SCHEMES_BY_REALM = {
    Realm.APPLICATION: "apiKey",
    Realm.WALLET: "apiKey",
    Realm.INQUIRY: "inquiryKey",
    Realm.GATEWAY: "gatewayId",
}
_ABOUT = """\
Generated from the table of paystar_async. Amounts are Rial. The envelope is read whatever the HTTP status is; unknown \
fields are kept.

Requests are described as paystar_async sends them. The service reads more than that: `amount` as `10000.0` or as a \
text, texts such as `order_id` and `track_id` as integers, `null` and an empty text as absence, an empty `allotment` \
as none, `callback_method` as `true` or `"GET"` (1), a wallet transfer without names or `track_id`, a trailing slash, \
and `bearer` in lower case. The gateway also reads `application/x-www-form-urlencoded`; nothing reads multipart.

In the sandbox a transfer of an amount that ends in 999 Rial, such as 100999, fails at the bank."""
_SECURITY_SCHEMES = {
    "apiKey": "The api_key of the application or of the wallet; lives 24 hours.",
    "inquiryKey": "The wallet's inquiry_key; lives 24 hours.",
    "gatewayId": "The gateway_id; permanent.",
}
_CREDENTIAL_DESCRIPTIONS = {
    "application_id": "the application",
    "access_password": "the application's access password",
    "wallet_hashid": "the wallet",
    "password": "the wallet's password",
}
_SECRET_FIELDS = frozenset({"access_password", "password"})

# Asked for the names of what each realm adds, so that they are written down in one place alone.
_SAMPLE_CREDENTIALS = Accounts(
    application=Application(id="-", access_password="-"),  # noqa: S106
    gateway=Gateway(id="-", sign_key="-"),
    wallet=Wallet(hashid="-", password="-", sign_key="-"),  # noqa: S106
)


def render_document(table: Table = TABLE) -> str:
    """The document as it is checked in."""
    return json.dumps(build_document(table), indent=2, ensure_ascii=False) + "\n"


def build_document(table: Table = TABLE, servers: Sequence[Json] = SERVERS) -> Json:
    """Return the whole document.

    Args:
        table: the endpoints.
        servers: where they are served, as OpenAPI server objects.
    """
    found: Json = {}
    for row in table:
        for path, apart in path_variants(row).items():
            found.setdefault(path, {}).update(_operations(row, apart))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Paystar",
            "version": VERSION,
            "description": _ABOUT,
        },
        "servers": list(servers),
        "tags": [
            {"name": name, "description": service_summary(rows)} for name, rows in endpoints_by_service(table).items()
        ],
        "paths": found,
        "components": {
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": said}
                for name, said in _SECURITY_SCHEMES.items()
            },
            "schemas": _schemas(table),
            "responses": {
                "Refused": _refusal_response("Paystar refused.", gateway=False),
                "GatewayRefused": _refusal_response("The gateway refused.", gateway=True),
                "Broken": {
                    "description": "Something failed on the way, and the body may be no envelope. An operation whose "
                    "`x-safety` is `once` may have been carried out: ask the one in `x-ask` before it is repeated.",
                },
            },
        },
    }


def _operations(row: Endpoint, apart: str) -> Json:
    """The operations of one path; a page is also opened by posting a form."""
    operation = f"{row.service}_{row.name}" + (f"_{apart}" if apart else "")
    common: Json = {
        "tags": [row.service],
        "summary": to_markdown(row.doc),
        "description": " ".join(_description(row)),
        "x-row": row.id,
        "x-safety": row.safety.value,
        **({"x-ask": row.ask} if row.ask else {}),
        "security": [{SECURITY_SCHEMES_BY_REALM[row.realm]: []}] if row.kind == "call" and not row.renews else [],
    }
    if row.kind == "page":
        page = {
            **common,
            "responses": {
                "200": _html_response("The payment page."),
                "4XX": _html_response("The token does not open it."),
            },
        }
        return {
            "get": {"operationId": operation, **page, "parameters": _parameters(row)},
            "post": {"operationId": f"{operation}_post", **page, "requestBody": _body(row)},
        }
    taken: Json = {"requestBody": _body(row)} if row.method == "POST" else {"parameters": _parameters(row)}
    return {row.method.lower(): {"operationId": operation, **common, **taken, "responses": _responses(row)}}


def _description(row: Endpoint) -> Iterator[str]:
    yield "Opened by the payer's browser." if row.kind == "page" else describe_safety(row)
    if row.sign:
        yield f"`sign` is the HMAC-SHA512 of `{'#'.join(row.sign)}` in lower-case hex; what is missing is empty."
    if row.sign and row.realm is Realm.GATEWAY:
        yield "A gateway that is set up unsigned sends none."
    if silent := [f"`{one.name}`" for one in fields_of(row.request) if not one.sent]:
        yield f"Signed and not sent: {', '.join(silent)}."


def _added_fields(row: Endpoint) -> Iterator[tuple[str, Json, bool]]:
    """What is added on the way: a field's name, its schema, whether it is always there."""
    if row.kind == "page":
        return
    for name in _SAMPLE_CREDENTIALS.credentials(row.realm, row.method):
        secret = {"format": "password"} if name in _SECRET_FIELDS else {}
        yield name, {"type": "string", **secret, "description": _CREDENTIAL_DESCRIPTIONS[name]}, True
    if row.renews:
        yield row.renews, {"type": "string", "format": "password", "description": "renews the key"}, True
    if row.sign:
        signature = {"type": "string", "pattern": "^[0-9a-f]{128}$", "description": f"HMAC of {'#'.join(row.sign)}"}
        yield "sign", signature, row.realm is not Realm.GATEWAY


def _body(row: Endpoint) -> Json:
    schema = {"$ref": f"#/components/schemas/{row.request.__name__}"}
    form, plain = "application/x-www-form-urlencoded", "application/json"
    kinds = [form] if row.kind == "page" else [plain, form] if row.realm is Realm.GATEWAY else [plain]
    return {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}


def _parameters(row: Endpoint) -> list[Json]:
    own = ((one.name, request_field_schema(one), one.required) for one in fields_of(row.request) if one.sent)
    return [
        {"name": name, "in": "query", "required": required, "description": schema.pop("description"), "schema": schema}
        for name, schema, required in (*_added_fields(row), *own)
    ]


def _responses(row: Endpoint) -> Json:
    refused = "GatewayRefused" if row.realm is Realm.GATEWAY else "Refused"
    model = response_model_for(row)
    envelope: Json = {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": [1, "ok"]},
            "message": {"type": "string"},
            "data": response_data_schema(row),
        },
    }
    return {
        "200": {
            "description": f"{to_markdown(docstring_summary(model))} Or a refusal, which may come with this HTTP status too.",
            "content": {
                "application/json": {"schema": {"anyOf": [envelope, {"$ref": "#/components/schemas/Refusal"}]}}
            },
        },
        "4XX": {"$ref": f"#/components/responses/{refused}"},
        "5XX": {"$ref": "#/components/responses/Broken"},
    }


def _html_response(description: str) -> Json:
    return {"description": description, "content": {"text/html": {"schema": {"type": "string"}}}}


def _refusal_response(said: str, *, gateway: bool) -> Json:
    lines = [
        f"- `{status}` {error.__name__}: {to_markdown(docstring_summary(error)).partition(': ')[2]}"
        for status, error in BY_STATUS.items()
        if issubclass(error, GatewayError) is gateway
    ]
    return {
        "description": "\n".join((f"{said} `status` says why:", "", *lines)),
        "content": {
            "application/json": {
                "schema": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Refusal", "WebError")]}
            }
        },
    }


def _schemas(table: Table) -> Json:
    found: Json = {
        "Refusal": {
            "type": "object",
            "description": "An envelope whose status is no success.",
            "required": ["status"],
            "properties": {
                "status": {"type": ["integer", "string"], "not": {"enum": [1, "ok"]}, "examples": list(BY_STATUS)},
                "message": {"type": "string"},
                "data": {"description": "Where single fields were refused: field to messages."},
            },
        },
        "WebError": {
            "type": "object",
            "description": "What a web framework in front answers: an unknown path, another method, too many requests.",
            "required": ["message"],
            "properties": {
                "message": {"type": "string"},
                "errors": {"type": "object", "description": "field to messages"},
            },
            "not": {"required": ["status"]},
        },
    }
    for row in table:
        if row.method == "POST" or row.kind == "page":
            added = list(_added_fields(row))
            body = model_schema(row.request)
            body["properties"] = {name: schema for name, schema, _ in added} | body["properties"]
            body["required"] = [name for name, _, always in added if always] + body["required"]
            found[row.request.__name__] = body
        answer = response_model_for(row)
        inner = [model for model in nested_models(row.request) if model is not row.request]
        for model in (*inner, *(nested_models(answer) if answer else ())):
            found[model.__name__] = model_schema(model)
    return found
