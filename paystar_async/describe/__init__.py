"""What is written from the table: the typed methods, the OpenAPI document and the reference in the README.

``python -m paystar_async.describe`` writes all three, ``--check`` says whether they still fit. Nothing here imports
what it generates, so that a stale file never keeps itself from being renewed.
"""

import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from inspect import getmodule
from typing import Annotated, Any, Union, get_args, get_origin

import attrs

from paystar_async.endpoint import DIRECT_GATEWAY_PATH, GATEWAY_PATH, Endpoint, Safety
from paystar_async.models.base import FieldInfo, answer_type, fields_of
from paystar_async.table import TABLE

Table = Sequence[Endpoint]
UNION_ORIGINS = (Union, types.UnionType)


def endpoints_by_service(table: Table) -> dict[str, list[Endpoint]]:
    """The rows under their services, both in table order."""
    services: dict[str, list[Endpoint]] = {}
    for row in table:
        services.setdefault(row.service, []).append(row)
    return services


def path_variants(row: Endpoint) -> dict[str, str]:
    """Every path a row answers at, with what sets it apart: nothing, ``direct`` or ``alias``."""
    usual, direct = (row.path.format(gateway=gateway) for gateway in (GATEWAY_PATH, DIRECT_GATEWAY_PATH))
    return {path: {direct: "direct", usual: ""}.get(path, "alias") for path in row.paths}


def docstring_summary(thing: object) -> str:
    """The first line of a docstring; a class that has none of its own has none."""
    return (thing.__doc__ or "").strip().partition("\n")[0]


def to_markdown(text: str) -> str:
    """A docstring's text as Markdown."""
    return text.replace("``", "`")


def service_summary(rows: Sequence[Endpoint]) -> str:
    """What a service is for: the first sentence of the module its requests live in."""
    sentence = docstring_summary(getmodule(rows[0].request)).partition(". ")[0]
    return sentence if sentence.endswith((".", "?", "!")) else sentence + "."


def describe_safety(row: Endpoint) -> str:
    """What a repetition of a row would do, in words."""
    if row.kind == "page":
        return "No request is made."
    if row.safety is Safety.READ:
        return "Only reads: repeated freely."
    return "Never repeated once it may have left" + (f"; `{row.ask}` tells what became of it." if row.ask else ".")


def describe_field(field: FieldInfo) -> str:
    """What a field is and what it must look like."""
    shape = field.kind.shape if field.kind else ""
    return "; ".join(dict.fromkeys(part for part in (field.doc, shape) if part))


def response_model_for(row: Endpoint) -> type | None:
    """The model a row answers with, or holds a list of; None where the answer is plain text."""
    answer = answer_type(row.request)
    inner = next(iter(get_args(answer)), answer)
    return inner if attrs.has(inner) else None


def named_fields(model: type) -> tuple[FieldInfo, ...]:
    """The fields of a model that have a name; ``extra`` keeps the others."""
    return tuple(one for one in fields_of(model) if one.name != "extra")


def is_response_model(model: type) -> bool:
    """Whether a model is what comes back, and so keeps what it does not know."""
    return any(one.name == "extra" and one.kind is None for one in fields_of(model))


def nested_models(model: type) -> Iterator[type]:
    """A model and the models its fields hold, outermost first."""
    yield model
    for one in fields_of(model):
        if one.item is not None:
            yield from nested_models(one.item)


def annotation_source(annotation: Any) -> str:
    """An annotation as source, without what it carries beside the type."""
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
    """A class's name; a private one goes by the union of its module that holds it (``JalaliDay``)."""
    if not cls.__name__.startswith("_"):
        return cls.__name__
    beside = vars(sys.modules[cls.__module__])
    return next(name for name, value in beside.items() if get_origin(value) in UNION_ORIGINS and cls in get_args(value))


def annotation_classes(annotation: Any) -> Iterator[type]:
    """Every class an annotation names."""
    origin = get_origin(annotation)
    named = annotation if origin is None else origin
    if isinstance(named, type) and named not in (type(None), Annotated, *UNION_ORIGINS):
        yield named
    for arg in get_args(annotation)[: 1 if origin is Annotated else None]:
        yield from annotation_classes(arg)


def find_undocumented(table: Table = TABLE) -> list[str]:
    """Whatever of a table nobody explains: rows, models, and fields without a sentence or a shape."""
    return list(dict.fromkeys(missing for row in table for missing in _find_undocumented(row)))


def _find_undocumented(row: Endpoint) -> Iterable[str]:
    if not row.doc:
        yield row.id
    for model in nested_models(row.request):
        if model is not row.request and not docstring_summary(model):
            yield model.__name__
        yield from (f"{model.__name__}.{one.name}" for one in fields_of(model) if not _is_documented(one))
    answer = response_model_for(row)
    for model in nested_models(answer) if answer else ():
        if not docstring_summary(model):
            yield model.__name__


def _is_documented(field: FieldInfo) -> bool:
    return bool(field.doc and field.kind and field.kind.shape)
