"""From what arrived to a request value: the same classes the client sends check it here."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Never, cast

from starlette.requests import Request as HttpRequest

from paystar_async.endpoint import Endpoint, Realm
from paystar_async.errors import InvalidValue
from paystar_async.models.base import FieldInfo, fields_of
from paystar_async.sandbox.envelope import Refusal
from paystar_async.sandbox.identification import INVALID_INPUT, INVALID_REQUEST, Raw

Tree = dict[str, object]

MAX_DEPTH = 32
"""Levels of objects and lists in a body, or of brackets in a form's field name; calls need three."""


async def read_fields(request: HttpRequest) -> dict[str, object]:
    """The fields of a request: its query, its JSON body or its form; a body that cannot be read has none."""
    if request.method == "GET":
        return dict(request.query_params)
    if request.headers.get("content-type", "").startswith(("application/x-www-form-urlencoded", "multipart/")):
        return unfold((await request.form()).multi_items())
    try:
        body = load_json(await request.body())
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", body) if isinstance(body, dict) else {}


def load_json(body: bytes) -> object:
    """Return what a JSON body holds; raises ValueError or RecursionError for one that is none, or nested too deep."""
    value: object = json.loads(body, parse_constant=_refuse_constant)
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


def structure(row: Endpoint, raw: Raw) -> dict[str, Any]:
    """The values of a row's request class; raises Refusal with a message for each field that is wrong."""
    values: dict[str, Any] = {}
    wrong: dict[str, list[str]] = {}
    for one in fields_of(row.request):
        if not one.sent or one.name == "extra":
            continue
        given = _tidied(one, raw.get(one.name))
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


def _tidied(one: FieldInfo, value: object) -> object:
    """The value as a lenient service reads it: digits may be a number, "" is nothing, unknown names are passed over."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and one.kind is not None and one.kind.schema.get("type") == "integer":
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else value
    if one.item is not None and isinstance(value, list):
        return [_tidied_item(one.item, item) for item in cast("list[object]", value)]
    return value


def _tidied_item(cls: type, value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    given = cast("Raw", value)
    return {one.name: _tidied(one, given.get(one.name)) for one in fields_of(cls)}
