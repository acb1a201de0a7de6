"""Models and their fields as JSON schemas."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, get_args, get_origin

import attrs

from paystar_async.describe import (
    UNION_ORIGINS,
    describe_field,
    docstring_summary,
    is_response_model,
    named_fields,
    response_model_for,
    to_markdown,
)
from paystar_async.endpoint import Endpoint
from paystar_async.models.base import FieldInfo, answer_type, fields_of
from paystar_async.values.kind import kind_of
from paystar_async.values.secret import Secret

Json = dict[str, Any]

_SCALAR_SCHEMAS: Mapping[type, Json] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    Secret: {"type": "string", "format": "password"},
}


def schema_reference(model: type) -> Json:
    """Where a model's schema stands."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def model_schema(model: type) -> Json:
    """The schema of a model, sent or answered. One with ``extra`` may hold more than is known."""
    fields = [one for one in named_fields(model) if one.sent]
    answered = is_response_model(model)
    schema: Json = {
        "type": "object",
        "description": to_markdown(docstring_summary(model)),
        "properties": {
            one.name: response_field_schema(one) if answered else request_field_schema(one) for one in fields
        },
        "required": [one.name for one in fields if one.required],
    }
    return schema | ({"additionalProperties": True} if len(named_fields(model)) < len(fields_of(model)) else {})


def request_field_schema(field: FieldInfo) -> Json:
    """The schema of a field that is sent: its kind's own."""
    schema: Json = {**(field.kind.schema if field.kind else {}), "description": to_markdown(describe_field(field))}
    if (example := _example(field)) is not None:
        schema["examples"] = [example]
    return schema


def response_field_schema(field: FieldInfo) -> Json:
    """The schema of a field that is answered: its type's."""
    said = field.doc
    return type_schema(field.annotation) | ({"description": said} if said else {})


def _example(field: FieldInfo) -> object:
    if field.item is None:
        return field.kind.example if field.kind else None
    return [{one.name: _example(one) for one in fields_of(field.item) if one.required}]


def response_data_schema(row: Endpoint) -> Json:
    """The schema of an answer's data; where a list is answered, a single one may come as itself."""
    answer, model = answer_type(row.request), response_model_for(row)
    if model is None or answer is model:
        return type_schema(answer)
    return {"anyOf": [type_schema(answer), schema_reference(model)]}


def type_schema(annotation: Any) -> Json:
    """The schema of a type as it is answered."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind = kind_of(annotation)
        return dict(kind.schema) if kind else type_schema(args[0])
    if origin in UNION_ORIGINS:
        (held,) = (arg for arg in args if arg is not type(None))
        return _nullable(type_schema(held))
    if origin is Mapping:
        return {"type": "object"}
    if origin in (list, tuple):
        return {"type": "array", "items": type_schema(args[0])}
    if attrs.has(annotation):
        return schema_reference(annotation)
    if issubclass(annotation, StrEnum):
        # Open: a word that is not in the list is an answer too.
        words = [member.value for member in annotation]
        return {
            "type": "string",
            "description": docstring_summary(annotation),
            "examples": words,
            "x-extensible-enum": words,
        }
    return dict(_SCALAR_SCHEMAS[annotation])


def _nullable(schema: Json) -> Json:
    if "type" in schema:
        types: Any = schema["type"]
        return schema | {"type": [*([types] if isinstance(types, str) else types), "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
