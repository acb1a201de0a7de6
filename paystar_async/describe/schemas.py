"""Models and their fields as JSON schemas."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, get_args, get_origin

import attrs

from paystar_async.describe import UNIONS, about, answer_model, is_answered, known, markdown, summary
from paystar_async.endpoint import Endpoint
from paystar_async.models.base import FieldInfo, answer_type, fields_of
from paystar_async.values.kind import kind_of
from paystar_async.values.secret import Secret

Json = dict[str, Any]

_PLAIN: Mapping[type, Json] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    Secret: {"type": "string", "format": "password"},
}


def reference(model: type) -> Json:
    """Where a model's schema stands."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def model_schema(model: type) -> Json:
    """The schema of a model, sent or answered. One with ``extra`` may hold more than is known."""
    fields = [one for one in known(model) if one.sent]
    answered = is_answered(model)
    schema: Json = {
        "type": "object",
        "description": markdown(summary(model)),
        "properties": {one.name: answered_schema(one) if answered else sent_schema(one) for one in fields},
        "required": [one.name for one in fields if one.required],
    }
    return schema | ({"additionalProperties": True} if len(known(model)) < len(fields_of(model)) else {})


def sent_schema(field: FieldInfo) -> Json:
    """The schema of a field that is sent: its kind's own."""
    schema: Json = {**(field.kind.schema if field.kind else {}), "description": markdown(about(field))}
    if (example := _example(field)) is not None:
        schema["examples"] = [example]
    return schema


def answered_schema(field: FieldInfo) -> Json:
    """The schema of a field that is answered: its type's."""
    said = field.doc
    return type_schema(field.annotation) | ({"description": said} if said else {})


def _example(field: FieldInfo) -> object:
    if field.item is None:
        return field.kind.example if field.kind else None
    return [{one.name: _example(one) for one in fields_of(field.item) if one.required}]


def answer_schema(row: Endpoint) -> Json:
    """The schema of an answer's data; where a list is answered, a single one may come as itself."""
    answer, model = answer_type(row.request), answer_model(row)
    if model is None or answer is model:
        return type_schema(answer)
    return {"anyOf": [type_schema(answer), reference(model)]}


def type_schema(annotation: Any) -> Json:
    """The schema of a type as it is answered."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind = kind_of(annotation)
        return dict(kind.schema) if kind else type_schema(args[0])
    if origin in UNIONS:
        (held,) = (arg for arg in args if arg is not type(None))
        return _nullable(type_schema(held))
    if origin is Mapping:
        return {"type": "object"}
    if origin in (list, tuple):
        return {"type": "array", "items": type_schema(args[0])}
    if attrs.has(annotation):
        return reference(annotation)
    if issubclass(annotation, StrEnum):
        # Open: a word that is not in the list is an answer too.
        words = [member.value for member in annotation]
        return {"type": "string", "description": summary(annotation), "examples": words, "x-extensible-enum": words}
    return dict(_PLAIN[annotation])


def _nullable(schema: Json) -> Json:
    if "type" in schema:
        types: Any = schema["type"]
        return schema | {"type": [*([types] if isinstance(types, str) else types), "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
