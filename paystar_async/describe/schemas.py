"""JSON schemas of models and their fields."""

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
from paystar_async.models.base import FieldInfo, fields_of, response_type
from paystar_async.values.field_type import find_field_type
from paystar_async.values.secret import Secret

Json = dict[str, Any]

_SCALAR_SCHEMAS: Mapping[type, Json] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    Secret: {"type": "string", "format": "password"},
}


def schema_reference(model: type) -> Json:
    """Return a ``$ref`` to a model's schema."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def model_schema(model: type) -> Json:
    """Return the schema of a request or response model; a model with ``extra`` allows additional properties."""
    fields = [field for field in named_fields(model) if field.sent]
    field_schema = response_field_schema if is_response_model(model) else request_field_schema
    schema: Json = {
        "type": "object",
        "description": to_markdown(docstring_summary(model)),
        "properties": {field.name: field_schema(field) for field in fields},
        "required": [field.name for field in fields if field.required],
    }
    return schema | ({"additionalProperties": True} if len(named_fields(model)) < len(fields_of(model)) else {})


def request_field_schema(field: FieldInfo) -> Json:
    """Return the schema of a request field: that of its kind."""
    schema: Json = {
        **(field.field_type.schema if field.field_type else {}),
        "description": to_markdown(describe_field(field)),
    }
    if (example := _example(field)) is not None:
        schema["examples"] = [example]
    return schema


def response_field_schema(field: FieldInfo) -> Json:
    """Return the schema of a response field: that of its type."""
    return type_schema(field.annotation) | ({"description": field.doc} if field.doc else {})


def _example(field: FieldInfo) -> object:
    if field.item is None:
        return field.field_type.example if field.field_type else None
    return [{item_field.name: _example(item_field) for item_field in fields_of(field.item) if item_field.required}]


def response_data_schema(endpoint: Endpoint) -> Json:
    """Return the schema of a response's data; a list with one item may come as the item alone."""
    annotation, model = response_type(endpoint.request), response_model_for(endpoint)
    if model is None or annotation is model:
        return type_schema(annotation)
    return {"anyOf": [type_schema(annotation), schema_reference(model)]}


def type_schema(annotation: Any) -> Json:
    """Return the schema of a type in a response."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind = find_field_type(annotation)
        return dict(kind.schema) if kind else type_schema(args[0])
    if origin in UNION_ORIGINS:
        (member,) = (arg for arg in args if arg is not type(None))
        return _nullable(type_schema(member))
    if origin is Mapping:
        return {"type": "object"}
    if origin in (list, tuple):
        return {"type": "array", "items": type_schema(args[0])}
    if attrs.has(annotation):
        return schema_reference(annotation)
    if issubclass(annotation, StrEnum):
        # Extensible: the server may send a word that is not in the list.
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
