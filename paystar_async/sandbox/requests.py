"""From what arrived to a request value: the same classes the client sends check it here."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Never, cast

from starlette.requests import Request as HttpRequest

from paystar_async.endpoint import Endpoint, Realm
from paystar_async.errors import InvalidValue
from paystar_async.models.base import FieldInfo, fields_of
from paystar_async.sandbox.authentication import INVALID_INPUT, INVALID_REQUEST, Raw
from paystar_async.sandbox.lenient import RECEIVED, ReceivedWalletTransfer, as_text, callback_method, whole_number
from paystar_async.sandbox.responses import Refusal

Tree = dict[str, object]

MAX_DEPTH = 32
"""Levels of objects and lists in a body, or of brackets in a form's field name; calls need three."""


class UnsupportedBody(Exception):
    """A request whose body is of a kind that is not read here."""


async def read_fields(request: HttpRequest) -> dict[str, object]:
    """Read the fields of a request: its query, its JSON body or its form; a body that cannot be read has none.

    Raises:
        UnsupportedBody: the body is a multipart form.
    """
    if request.method == "GET":
        return dict(request.query_params)
    content_type = request.headers.get("content-type", "").strip().lower()
    if content_type.startswith("multipart/"):
        raise UnsupportedBody
    if content_type.startswith("application/x-www-form-urlencoded"):
        return unfold((await request.form()).multi_items())
    try:
        body = load_json(await request.body())
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", body) if isinstance(body, dict) else {}


def load_json(body: bytes) -> object:
    """Return what a JSON body holds.

    Raises:
        ValueError, RecursionError: it is no JSON, holds half a surrogate pair, or is nested too deep.
    """
    # Half a surrogate pair cannot be signed or answered with; json.loads takes it of bytes, and as an escape.
    text = body.decode(json.detect_encoding(body))
    value: object = json.loads(text, parse_constant=_refuse_constant)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _refuse_depth(value)
    return value


def _refuse_depth(value: object, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(value, dict | list):
        items = cast("dict[str, object] | list[object]", value)
        for one in items.values() if isinstance(items, dict) else items:
            _refuse_depth(one, depth + 1)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


def unfold(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Form fields as PHP writes them: ``transfers[0][amount]`` is the amount of the first transfer."""
    tree: Tree = {}
    for name, value in pairs:
        *path, last = re.findall(r"[^\[\]]+", name) or [name]
        if len(path) > MAX_DEPTH:
            path, last = [], name
        branch = tree
        for step in path:
            deeper = branch.setdefault(step, {})
            branch = cast("Tree", deeper) if isinstance(deeper, dict) else {}
        branch[last] = value
    return {name: _as_list(value) for name, value in tree.items()}


def _as_list(value: object) -> object:
    if not isinstance(value, dict):
        return value
    branch = {name: _as_list(inner) for name, inner in cast("Tree", value).items()}
    return list(branch.values()) if all(name.isdecimal() for name in branch) else branch


def request_class(row: Endpoint) -> type[Any]:
    """Return the class that a row's requests are read as."""
    return RECEIVED.get(row.request, row.request)


def structure(row: Endpoint, raw: Raw, make_track_id: Callable[[], str]) -> dict[str, Any]:
    """Return the values of ``request_class(row)``.

    Args:
        row: the call.
        raw: the fields as they arrived.
        make_track_id: names a transfer that may come without a track_id, and does.

    Raises:
        Refusal: with a message for each field that is wrong.
    """
    values: dict[str, Any] = {}
    wrong: dict[str, list[str]] = {}
    for one in fields_of(request_class(row)):
        if not one.sent or one.name == "extra":
            continue
        given = _tidied(one, raw.get(one.name), make_track_id)
        if given is None:
            if one.required:
                wrong[one.name] = [f"فیلد {one.name} الزامی است"]
            continue
        try:
            values[one.name] = given if one.kind is None else one.kind.convert(given, one.name)
        except InvalidValue as refusal:
            name = re.sub(r"\[(\d+)\]", r".\1", refusal.field)
            wrong[name] = [f"فیلد {name} معتبر نیست"]
    if wrong:
        raise Refusal(INVALID_REQUEST if row.realm is Realm.GATEWAY else INVALID_INPUT, fields=wrong)
    return values


def _tidied(one: FieldInfo, value: object, make_track_id: Callable[[], str]) -> object:
    """Return a value as a lenient service reads it, or None where nothing was sent.

    null, "" and an empty list that may be left out are nothing; numbers may be texts and texts numbers.
    """
    if value is None or value == "" or (value == [] and one.item is not None and not one.required):
        return None
    if one.name == "callback_method":
        return callback_method(value)
    if one.item is not None and isinstance(value, list):
        return [_tidied_item(one.item, item, make_track_id) for item in cast("list[object]", value)]
    match one.kind.schema.get("type") if one.kind else None:
        case "integer":
            return whole_number(value)
        case "string":
            return as_text(value)
        case _:
            return value


def _tidied_item(cls: type, value: object, make_track_id: Callable[[], str]) -> object:
    """Return an item's known fields, tidied; what may be left out and was is left out."""
    if not isinstance(value, Mapping):
        return value
    raw = cast("Raw", value)
    values = {one.name: _tidied(one, raw.get(one.name), make_track_id) for one in fields_of(cls)}
    if cls is ReceivedWalletTransfer and values["track_id"] is None:
        values["track_id"] = make_track_id()
    optional = {one.name for one in fields_of(cls) if not one.required}
    return {name: field for name, field in values.items() if field is not None or name not in optional}
