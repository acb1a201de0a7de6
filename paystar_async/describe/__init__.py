"""Generators that describe the endpoint table: typed methods, the OpenAPI document and the endpoint reference.

``python -m paystar_async.describe`` writes all of them, ``--check`` reports what is out of date. No module here imports
generated code, so that an outdated file never prevents its own regeneration.
"""

import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from inspect import getmodule
from typing import Annotated, Any, Union, get_args, get_origin

import attrs

from paystar_async.credentials import DIRECT_GATEWAY_PATH, GATEWAY_PATH
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.models.base import FieldInfo, fields_of, response_type
from paystar_async.table import TABLE

Table = Sequence[Endpoint]
UNION_ORIGINS = (Union, types.UnionType)


def endpoints_by_service(table: Table) -> dict[str, list[Endpoint]]:
    """Return the endpoints grouped by service, both in table order."""
    services: dict[str, list[Endpoint]] = {}
    for endpoint in table:
        services.setdefault(endpoint.service, []).append(endpoint)
    return services


def path_variants(endpoint: Endpoint) -> dict[str, str]:
    """Return each path of an endpoint with its variant: "" for the usual path, ``direct`` or ``alias``."""
    usual, direct = (endpoint.path.format(gateway=gateway) for gateway in (GATEWAY_PATH, DIRECT_GATEWAY_PATH))
    return {path: {direct: "direct", usual: ""}.get(path, "alias") for path in endpoint.paths}


def docstring_summary(documented: object) -> str:
    """Return the first line of an object's docstring, or "" if there is no docstring."""
    return (documented.__doc__ or "").strip().partition("\n")[0]


def to_markdown(text: str) -> str:
    """Return a docstring's text as Markdown."""
    return text.replace("``", "`")


def service_summary(endpoints: Sequence[Endpoint]) -> str:
    """Return the subject of a service, from the first sentence of the module that defines its requests."""
    sentence = docstring_summary(getmodule(endpoints[0].request)).partition(". ")[0].removeprefix("Models of ")
    sentence = sentence[:1].upper() + sentence[1:]
    return sentence if sentence.endswith((".", "?", "!")) else sentence + "."


def describe_safety(endpoint: Endpoint) -> str:
    """Return in words when an endpoint is retried."""
    if endpoint.kind == "page":
        return "No request is made."
    if endpoint.safety is Safety.READ:
        return "Read-only: safe to retry."
    return "Never retried once it may have been sent" + (
        f"; `{endpoint.lookup}` looks up its result." if endpoint.lookup else "."
    )


def describe_field(field: FieldInfo) -> str:
    """Return the description of a field: its meaning and the shape of its value."""
    shape = field.field_type.expected if field.field_type else ""
    return "; ".join(dict.fromkeys(part for part in (field.doc, shape) if part))


def response_model_for(endpoint: Endpoint) -> type | None:
    """Return the model of an endpoint's response, or of its items; None if the response is plain text."""
    annotation = response_type(endpoint.request)
    model = next(iter(get_args(annotation)), annotation)
    return model if attrs.has(model) else None


def named_fields(model: type) -> tuple[FieldInfo, ...]:
    """Return the fields of a model except ``extra``."""
    return tuple(field for field in fields_of(model) if field.name != "extra")


def is_response_model(model: type) -> bool:
    """Return True if a model is a response, and so keeps unknown fields in ``extra``."""
    return any(field.name == "extra" and field.field_type is None for field in fields_of(model))


def nested_models(model: type) -> Iterator[type]:
    """Yield a model and the models of its fields, outermost first."""
    yield model
    for field in fields_of(model):
        if field.item is not None:
            yield from nested_models(field.item)


def annotation_source(annotation: Any) -> str:
    """Return an annotation as source code, without ``Annotated`` metadata."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return annotation_source(args[0])
    if origin in UNION_ORIGINS:
        return " | ".join(dict.fromkeys(annotation_source(arg) for arg in args))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(annotation_source, args))}]"
    if annotation is type(None):
        return "None"
    return "..." if annotation is ... else public_name(annotation)


def public_name(cls: type) -> str:
    """Return a class's name; for a private class, the name of the union in its module that has it (``JalaliDay``)."""
    if not cls.__name__.startswith("_"):
        return cls.__name__
    names = vars(sys.modules[cls.__module__])
    return next(name for name, value in names.items() if get_origin(value) in UNION_ORIGINS and cls in get_args(value))


def annotation_classes(annotation: Any) -> Iterator[type]:
    """Yield every class that an annotation names."""
    origin = get_origin(annotation)
    outer = annotation if origin is None else origin
    if isinstance(outer, type) and outer not in (type(None), Annotated, *UNION_ORIGINS):
        yield outer
    for arg in get_args(annotation)[: 1 if origin is Annotated else None]:
        yield from annotation_classes(arg)


def find_undocumented(table: Table = TABLE) -> list[str]:
    """Return the names of endpoints and models without a docstring, and of fields without a sentence or a shape."""
    return list(dict.fromkeys(name for endpoint in table for name in _find_undocumented(endpoint)))


def _find_undocumented(endpoint: Endpoint) -> Iterable[str]:
    if not endpoint.doc:
        yield endpoint.id
    for model in nested_models(endpoint.request):
        if model is not endpoint.request and not docstring_summary(model):
            yield model.__name__
        yield from (f"{model.__name__}.{field.name}" for field in fields_of(model) if not _is_documented(field))
    response = response_model_for(endpoint)
    for model in nested_models(response) if response else ():
        if not docstring_summary(model):
            yield model.__name__


def _is_documented(field: FieldInfo) -> bool:
    return bool(field.doc and field.field_type and field.field_type.expected)
