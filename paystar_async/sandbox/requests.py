"""Request parsing: HTTP request → fields → the request classes that the client sends."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Never, cast
from urllib.parse import parse_qsl

from starlette.requests import Request as HttpRequest

from paystar_async.credentials import Realm
from paystar_async.endpoint import Endpoint
from paystar_async.errors import InvalidValue
from paystar_async.models.base import FieldInfo, fields_of
from paystar_async.sandbox.authentication import INVALID_INPUT, INVALID_REQUEST, RawFields
from paystar_async.sandbox.lenient import (
    REQUEST_CLASSES,
    ReceivedWalletTransfer,
    parse_callback_method,
    to_integer,
    to_text,
)
from paystar_async.sandbox.responses import Refusal

Tree = dict[str, object]

MAX_DEPTH = 32
"""Levels of objects and lists in a body, or of brackets in a form field's name; API calls need three."""


class UnsupportedBody(Exception):
    """A request with a body of a content type that the sandbox does not parse."""


async def read_fields(request: HttpRequest) -> dict[str, object]:
    """Read a request's fields from its query, JSON body or form; return none for an unreadable body.

    Raises:
        UnsupportedBody: the body is a multipart form.
    """
    if request.method == "GET":
        return dict(request.query_params)
    content_type = request.headers.get("content-type", "").strip().lower()
    if content_type.startswith("multipart/"):
        raise UnsupportedBody
    if content_type.startswith("application/x-www-form-urlencoded"):
        return parse_form_fields(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
    try:
        body = load_json(await request.body())
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", body) if isinstance(body, dict) else {}


def load_json(body: bytes) -> object:
    """Return the value of a JSON body.

    Raises:
        ValueError, RecursionError: the body is not JSON, contains half a surrogate pair, or is nested too deep.
    """
    # Half a surrogate pair cannot be signed or sent back; json.loads accepts it as bytes and as an escape.
    text = body.decode(json.detect_encoding(body))
    value: object = json.loads(text, parse_constant=_reject_constant)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    return value


def _check_depth(value: object, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(value, dict | list):
        items = cast("dict[str, object] | list[object]", value)
        for item in items.values() if isinstance(items, dict) else items:
            _check_depth(item, depth + 1)


def _reject_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def parse_form_fields(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Parse form fields as PHP names them: ``transfers[0][amount]`` is the amount of the first transfer."""
    tree: Tree = {}
    for name, value in pairs:
        *path, last = re.findall(r"[^\[\]]+", name) or [name]
        if len(path) > MAX_DEPTH:
            path, last = [], name
        branch = tree
        for key in path:
            child = branch.setdefault(key, {})
            branch = cast("Tree", child) if isinstance(child, dict) else {}
        branch[last] = value
    return {name: _lists_from_indexes(value) for name, value in tree.items()}


def _lists_from_indexes(value: object) -> object:
    if not isinstance(value, dict):
        return value
    branch = {name: _lists_from_indexes(child) for name, child in cast("Tree", value).items()}
    return list(branch.values()) if all(name.isdecimal() for name in branch) else branch


def request_class(endpoint: Endpoint) -> type[Any]:
    """Return the class that an endpoint's requests are parsed as."""
    return REQUEST_CLASSES.get(endpoint.request, endpoint.request)


def structure_request(endpoint: Endpoint, raw: RawFields, make_track_id: Callable[[], str]) -> dict[str, Any]:
    """Return the constructor arguments of ``request_class(endpoint)``.

    Args:
        endpoint: the called endpoint.
        raw: the fields as received.
        make_track_id: returns a track_id for a transfer that may come without one, and does.

    Raises:
        Refusal: fields are invalid; with a message for each.
    """
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for model_field in fields_of(request_class(endpoint)):
        name = model_field.name
        if not model_field.sent or name == "extra":
            continue
        value = _normalize(model_field, raw.get(name), make_track_id)
        if value is None:
            if model_field.required:
                errors[name] = [f"فیلد {name} الزامی است"]
            continue
        try:
            values[name] = value if model_field.field_type is None else model_field.field_type.convert(value, name)
        except InvalidValue as error:
            path = re.sub(r"\[(\d+)\]", r".\1", error.field)
            errors[path] = [f"فیلد {path} معتبر نیست"]
    if errors:
        raise Refusal(INVALID_REQUEST if endpoint.realm is Realm.GATEWAY else INVALID_INPUT, fields=errors)
    return values


def _normalize(model_field: FieldInfo, value: object, make_track_id: Callable[[], str]) -> object:
    """Return a value as a lenient service reads it, or None for an empty value.

    null, "" and an optional empty list are empty; numbers may be text and text may be numbers.
    """
    if value is None or value == "" or (value == [] and model_field.item is not None and not model_field.required):
        return None
    if model_field.name == "callback_method":
        return parse_callback_method(value)
    if model_field.item is not None and isinstance(value, list):
        return [_normalize_item(model_field.item, item, make_track_id) for item in cast("list[object]", value)]
    match model_field.field_type.schema.get("type") if model_field.field_type else None:
        case "integer":
            return to_integer(value)
        case "string":
            return to_text(value)
        case _:
            return value


def _normalize_item(cls: type, value: object, make_track_id: Callable[[], str]) -> object:
    """Return an item's known fields, normalized, without its empty optional fields."""
    if not isinstance(value, Mapping):
        return value
    raw = cast("RawFields", value)
    values = {
        model_field.name: _normalize(model_field, raw.get(model_field.name), make_track_id)
        for model_field in fields_of(cls)
    }
    if cls is ReceivedWalletTransfer and values["track_id"] is None:
        values["track_id"] = make_track_id()
    optional = {model_field.name for model_field in fields_of(cls) if not model_field.required}
    return {name: field for name, field in values.items() if field is not None or name not in optional}
