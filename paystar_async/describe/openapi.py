"""The OpenAPI 3.1 document, which a sandbox serves for other languages and for tools.

It describes requests as they are sent, with the fields that the encoder adds to a request value: credentials, the
signature, and the refresh token of an endpoint that refreshes a key.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from paystar_async._version import VERSION
from paystar_async.credentials import BASE_URL, Application, Credentials, Gateway, Realm, Wallet
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
from paystar_async.endpoint import Endpoint
from paystar_async.errors import BY_STATUS, GatewayError
from paystar_async.models.base import fields_of
from paystar_async.table import TABLE

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
Generated from the endpoint table of paystar_async. Amounts are in Rial. The envelope is read whatever the HTTP \
status is; unknown fields are kept.

Requests are described as paystar_async sends them. The service accepts more: `amount` as `10000.0` or as a \
text, text fields such as `order_id` and `track_id` as integers, `null` and an empty text as an absent field, an empty \
`allotment` as no allotment, `callback_method` as `true` or `"GET"` (1), a wallet transfer without names or \
`track_id`, a trailing slash, and `bearer` in lower case. The gateway also \
accepts `application/x-www-form-urlencoded`; no endpoint accepts multipart.

In the sandbox, a transfer whose amount ends in 999 Rial, such as 100999, fails at the bank."""
_SECURITY_SCHEMES = {
    "apiKey": "The api_key of the application or of the wallet; valid for 24 hours.",
    "inquiryKey": "The wallet's inquiry_key; valid for 24 hours.",
    "gatewayId": "The gateway_id; permanent.",
}
_CREDENTIAL_DESCRIPTIONS = {
    "application_id": "the application",
    "access_password": "the application's access password",
    "wallet_hashid": "the wallet",
    "password": "the wallet's password",
}
_SECRET_FIELDS = frozenset({"access_password", "password"})

# Only used for the names of the fields each realm adds, so that they are defined in one place.
_SAMPLE_CREDENTIALS = Credentials(
    application=Application(id="-", access_password="-"),  # noqa: S106
    gateway=Gateway(id="-", sign_key="-"),
    wallet=Wallet(hashid="-", password="-", sign_key="-"),  # noqa: S106
)


def build_document(table: Table = TABLE, servers: Sequence[Json] = SERVERS) -> Json:
    """Return the document.

    Args:
        table: the endpoints.
        servers: OpenAPI server objects.
    """
    path_items: Json = {}
    for endpoint in table:
        for path, variant in path_variants(endpoint).items():
            path_items.setdefault(path, {}).update(_operations(endpoint, variant))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Paystar",
            "version": VERSION,
            "description": _ABOUT,
        },
        "servers": list(servers),
        "tags": [
            {"name": name, "description": service_summary(endpoints)}
            for name, endpoints in endpoints_by_service(table).items()
        ],
        "paths": path_items,
        "components": {
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": description}
                for name, description in _SECURITY_SCHEMES.items()
            },
            "schemas": _schemas(table),
            "responses": {
                "Refused": _refusal_response("Paystar refused.", gateway=False),
                "GatewayRefused": _refusal_response("The gateway refused.", gateway=True),
                "ServerFailure": {
                    "description": "A server or a proxy failed; the body may be no envelope. An operation whose "
                    "`x-safety` is `once` may have been executed: look it up with `x-lookup` before you repeat it.",
                },
            },
        },
    }


def _operations(endpoint: Endpoint, variant: str) -> Json:
    """Return the operations of one path; a page can be opened by GET or by posting a form."""
    operation = f"{endpoint.service}_{endpoint.name}" + (f"_{variant}" if variant else "")
    common: Json = {
        "tags": [endpoint.service],
        "summary": to_markdown(endpoint.doc),
        "description": " ".join(_description(endpoint)),
        "x-endpoint": endpoint.id,
        "x-safety": endpoint.safety.value,
        **({"x-lookup": endpoint.lookup} if endpoint.lookup else {}),
        "security": [{SECURITY_SCHEMES_BY_REALM[endpoint.realm]: []}]
        if endpoint.kind == "call" and not endpoint.refresh_token_field
        else [],
    }
    if endpoint.kind == "page":
        page = {
            **common,
            "responses": {
                "200": _html_response("The payment page."),
                "4XX": _html_response("The token is not valid."),
            },
        }
        return {
            "get": {"operationId": operation, **page, "parameters": _parameters(endpoint)},
            "post": {"operationId": f"{operation}_post", **page, "requestBody": _body(endpoint)},
        }
    parameters: Json = (
        {"requestBody": _body(endpoint)} if endpoint.method == "POST" else {"parameters": _parameters(endpoint)}
    )
    return {
        endpoint.method.lower(): {"operationId": operation, **common, **parameters, "responses": _responses(endpoint)}
    }


def _description(endpoint: Endpoint) -> Iterator[str]:
    yield "Opened by the payer's browser." if endpoint.kind == "page" else describe_safety(endpoint)
    if endpoint.signed_fields:
        yield (
            f"`sign` is the HMAC-SHA512 of `{'#'.join(endpoint.signed_fields)}` in lower-case hex; "
            "an absent field counts as empty."
        )
    if endpoint.signed_fields and endpoint.realm is Realm.GATEWAY:
        yield "A gateway that is configured without signatures sends no `sign`."
    if signed_only := [f"`{field.name}`" for field in fields_of(endpoint.request) if not field.sent]:
        yield f"Signed and not sent: {', '.join(signed_only)}."


def _added_fields(endpoint: Endpoint) -> Iterator[tuple[str, Json, bool]]:
    """Yield each field the encoder adds to a request: its name, its schema, whether it is required."""
    if endpoint.kind == "page":
        return
    for name in _SAMPLE_CREDENTIALS.identification_fields(endpoint.realm, endpoint.method):
        secret = {"format": "password"} if name in _SECRET_FIELDS else {}
        yield name, {"type": "string", **secret, "description": _CREDENTIAL_DESCRIPTIONS[name]}, True
    if endpoint.refresh_token_field:
        yield (
            endpoint.refresh_token_field,
            {"type": "string", "format": "password", "description": "refreshes the key"},
            True,
        )
    if endpoint.signed_fields:
        signature = {
            "type": "string",
            "pattern": "^[0-9a-f]{128}$",
            "description": f"HMAC of {'#'.join(endpoint.signed_fields)}",
        }
        yield "sign", signature, endpoint.realm is not Realm.GATEWAY


def _body(endpoint: Endpoint) -> Json:
    schema = {"$ref": f"#/components/schemas/{endpoint.request.__name__}"}
    form, json_type = "application/x-www-form-urlencoded", "application/json"
    if endpoint.kind == "page":
        media_types = [form]
    elif endpoint.realm is Realm.GATEWAY:
        media_types = [json_type, form]
    else:
        media_types = [json_type]
    return {"required": True, "content": {media_type: {"schema": schema} for media_type in media_types}}


def _parameters(endpoint: Endpoint) -> list[Json]:
    request_fields = (
        (field.name, request_field_schema(field), field.required) for field in fields_of(endpoint.request) if field.sent
    )
    return [
        {"name": name, "in": "query", "required": required, "description": schema.pop("description"), "schema": schema}
        for name, schema, required in (*_added_fields(endpoint), *request_fields)
    ]


def _responses(endpoint: Endpoint) -> Json:
    refused = "GatewayRefused" if endpoint.realm is Realm.GATEWAY else "Refused"
    model = response_model_for(endpoint)
    envelope: Json = {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": [1, "ok"]},
            "message": {"type": "string"},
            "data": response_data_schema(endpoint),
        },
    }
    return {
        "200": {
            "description": f"{to_markdown(docstring_summary(model))} Or a refusal, which may also have this status.",
            "content": {
                "application/json": {"schema": {"anyOf": [envelope, {"$ref": "#/components/schemas/Refusal"}]}}
            },
        },
        "4XX": {"$ref": f"#/components/responses/{refused}"},
        "5XX": {"$ref": "#/components/responses/ServerFailure"},
    }


def _html_response(description: str) -> Json:
    return {"description": description, "content": {"text/html": {"schema": {"type": "string"}}}}


def _refusal_response(summary: str, *, gateway: bool) -> Json:
    lines = [
        f"- `{status}` {error.__name__}: {to_markdown(docstring_summary(error)).partition(': ')[2]}"
        for status, error in BY_STATUS.items()
        if issubclass(error, GatewayError) is gateway
    ]
    return {
        "description": "\n".join((f"{summary} `status` says why:", "", *lines)),
        "content": {
            "application/json": {
                "schema": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Refusal", "WebError")]}
            }
        },
    }


def _schemas(table: Table) -> Json:
    schemas: Json = {
        "Refusal": {
            "type": "object",
            "description": "An envelope whose status is not a success.",
            "required": ["status"],
            "properties": {
                "status": {"type": ["integer", "string"], "not": {"enum": [1, "ok"]}, "examples": list(BY_STATUS)},
                "message": {"type": "string"},
                "data": {"description": "If single fields were refused: messages by field."},
            },
        },
        "WebError": {
            "type": "object",
            "description": "The response of the web framework: unknown path, wrong method, too many requests.",
            "required": ["message"],
            "properties": {
                "message": {"type": "string"},
                "errors": {"type": "object", "description": "messages by field"},
            },
            "not": {"required": ["status"]},
        },
    }
    for endpoint in table:
        if endpoint.method == "POST" or endpoint.kind == "page":
            added = list(_added_fields(endpoint))
            body = model_schema(endpoint.request)
            body["properties"] = {name: schema for name, schema, _ in added} | body["properties"]
            body["required"] = [name for name, _, required in added if required] + body["required"]
            schemas[endpoint.request.__name__] = body
        response = response_model_for(endpoint)
        parameter_models = [model for model in nested_models(endpoint.request) if model is not endpoint.request]
        for model in (*parameter_models, *(nested_models(response) if response else ())):
            schemas[model.__name__] = model_schema(model)
    return schemas
