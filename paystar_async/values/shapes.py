"""Shapes of JSON values: field names, types, length classes and forms of texts, and never a value.

Whatever a server sends, a shape is built from a closed vocabulary: a field name whose words are not in ``WORDS``
becomes an ellipsis, and a text becomes the name of its form. A shape can therefore be published.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

MAX_DEPTH, MAX_FIELDS, MAX_ITEMS = 6, 60, 20
"""Limits of what a shape shows: the levels, the fields of an object, the entries of a list."""
UNKNOWN_NAME = "…"
"""The name of every field whose name is not made of known words."""
NUMBERS = "#"
"""The name of a field whose name is a number: an entry of a PHP array."""

WORDS = frozenset(
    """
    access account action active additional address allotment already amount api app application at attempt
    available balance bank base bearer birth block blocked branch busy by callback card cards cash check city
    client code codes commission company count country create created credit currency current customer data date
    day debit default deleted deposit description destination detail details direct direction display done email
    end error errors event expire expired expires expiry extra factor failed fee fees field fields final fine
    first firstname from full gateway get group has hash hashed hashid hashids iban ibans id identity ids index
    info information inquiry invoice is item items job key keys kind label last lastname legal level limit line
    link links list log mail match matched max maximum mean message messages meta method min minimum mobile mode
    money month name national new next note number num numbers of ok old on open operation option order origin
    original other owner owners page pages param parameter part password path pay payable payer payment payments
    pending per persian person phone point post previous price product products psp purpose read real reason
    receipt receiver ref reference referer refresh register registered remain remaining request requests response
    result results reversed rial row rows second secret send sender sent service services settled settlement
    settlements share sheba shop sign skip sort source staff start state statement status step sub succeeded
    success system tag tax terminal text time timestamp title to token toman total trace track tracking
    transaction transactions transfer transfers type unit until update updated url user uuid valid value verified
    verify version wage wallet wallets with withdraw withdrawal year
    """.split()  # noqa: SIM905 - three hundred words as a list would fill three hundred lines
)
"""The words that field names are made of; a name with another word may be a person's name or a key."""

_NAME = re.compile(r"[A-Za-z_]{1,40}[0-9]?")
_CASED_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LENGTHS = (0, 4, 8, 16, 32, 64, 128)
_LENGTH_CLASSES = ("0", "1-4", "5-8", "9-16", "17-32", "33-64", "65-128", "129+")
_STATUS_WORDS = frozenset({"success", "failed", "pending", "ok", "unauthenticated", "INIT", "SUCCEED"}) | frozenset(
    {"FAILED", "CANCELLED", "REVERSED", "UNVERIFIED", "VERIFY_PENDING"}
)
_FORMS = {
    "digits": r"-?[0-9]{1,19}",
    "letters": r"[A-Za-z]{1,128}",
    "time": r"(?!1[2-5])[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}",
    "hex": r"[0-9A-Fa-f]{32,128}",
    "dotted": r"-?[0-9]{1,3}(?:\.[0-9]{3})+",
    "decimal": r"-?[0-9]{1,19}\.[0-9]{1,9}",
    "grouped": r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?",
    "jalali_time": r"1[2-5][0-9]{2}-[0-9]{2}-[0-9]{2} [0-9:]{8}",
    "jalali_day": r"1[2-5][0-9]{2}-[0-9]{2}-[0-9]{2}",
    "day": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "iso_time": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,16}(?:Z|[+-][0-9:]{4,5})?",
    "short_time": r"[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9:]{8}",
    "masked_card": r"[0-9]{4,8}[*xX]{4,12}[0-9]{2,4}",
    "iban": r"IR[0-9]{24}",
    "id": r"[0-9A-Za-z_.:-]{1,128}",
}
_TEXT_SHAPES = {
    form: [f'"text:{form}:{length}"' for length in _LENGTH_CLASSES]
    for form in (*_FORMS, "persian", "other", "ascii", "empty")
}
_FORM = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _FORMS.items()))
_MAX_FORM_LENGTH = 128
_SHORT_ID_LENGTH = 19
_PERSIAN = re.compile(r"[؀-ۿ]")
_NO_VALUE = frozenset({"null", "absent"})


def shape_of(value: object, name: str = "", depth: int = 0) -> str:
    """Return the shape of a JSON value, as JSON text.

    Args:
        value: a parsed JSON value.
        name: the name of the field that holds the value; ``status`` has words of its own.
        depth: the level of the value.

    Returns:
        An object of shapes by field name, a list with the shape of its entries, or a word such as
        ``"text:digits:5-8"``, ``"int:1-4"``, ``"float:whole"``, ``"true"`` or ``"null"``.
    """
    if isinstance(value, str):
        return _text_shape(value, name)
    if value is None:
        return '"null"'
    if value is True or value is False:
        return '"bool"'
    if isinstance(value, int):
        return f'"int:{_digits_class(value)}"'
    if isinstance(value, float):
        return '"float:whole"' if value.is_integer() else '"float:fraction"'
    if depth >= MAX_DEPTH:
        return '"deep"'
    if isinstance(value, dict):
        return _object_shape(cast("dict[str, object]", value), depth)
    return _list_shape(cast("list[object]", value), name, depth)


def _object_shape(value: Mapping[str, object], depth: int) -> str:
    shapes: dict[str, str] = {}
    for field, content in value.items():
        name = known_name(field)
        if name == UNKNOWN_NAME or len(shapes) >= MAX_FIELDS:
            shapes[UNKNOWN_NAME] = '"unknown"'
            continue
        if isinstance(content, str):  # without a further call, for the most frequent type
            shape = _text_shape(content, name)
        else:
            shape = '"null"' if content is None else shape_of(content, name, depth + 1)
        if name in shapes and shapes[name] != shape:
            shape = _merge_texts((shapes[name], shape))
        shapes[name] = shape
    return "{" + ",".join([f'"{name}":{shape}' for name, shape in shapes.items()]) + "}"


def _list_shape(items: list[object], name: str, depth: int) -> str:
    shapes = {shape_of(item, name, depth + 1): None for item in _different(items[:MAX_ITEMS])}
    return f"[{next(iter(shapes)) if len(shapes) == 1 else _merge_texts(shapes) if shapes else ''}]"


def _different(items: list[object]) -> Collection[object]:
    """Return the entries of a list, of objects with the same names, types and status only the first.

    A call would pay for each transfer of a long list; those differ in lengths and forms of texts at most.
    """
    if len(items) < 2 or not all(type(item) is dict for item in items):
        return items
    different: dict[tuple[object, ...], object] = {}
    for item in cast("list[dict[str, object]]", items):
        status = item.get("status")
        key = tuple(item), tuple(map(type, item.values())), status if type(status) is str else None
        different.setdefault(key, item)
    return different.values()


@lru_cache(maxsize=1024)
def known_name(name: str) -> str:
    """Return a field name made of known words, with numbers as ``#``; otherwise the ellipsis."""
    parts = [NUMBERS if part.isdecimal() and len(part) <= 4 else part for part in name.split(".")[:6]]
    return ".".join(parts) if all(part == NUMBERS or _is_known(part) for part in parts) else UNKNOWN_NAME


def _is_known(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and all(
        term.lower() in WORDS for part in name.rstrip("0123456789").split("_") if part for term in _words(part)
    )


def _words(part: str) -> list[str]:
    return [part] if part.islower() else _CASED_WORD.findall(part) or [part]


def _text_shape(text: str, name: str) -> str:
    if name == "status" and not text.removeprefix("-").isdecimal():
        return '"word:known"' if text in _STATUS_WORDS else '"word:other"'
    length = len(text)
    if not text.isascii():
        form = "persian" if _PERSIAN.search(text, 0, _MAX_FORM_LENGTH) else "other"
    elif length <= _SHORT_ID_LENGTH and text.isalnum():  # without the expression, for the most frequent texts
        form = "digits" if text.isdecimal() else "letters" if text.isalpha() else "id"
    elif length:
        match = _FORM.fullmatch(text, 0, _MAX_FORM_LENGTH + 1)
        form = str(match.lastgroup) if match is not None else "ascii"
    else:
        form = "empty"
    return _TEXT_SHAPES[form][bisect_left(_LENGTHS, length)]


def _digits_class(number: int) -> str:
    size = abs(number)
    return "1-4" if size < 10**4 else "5-8" if size < 10**8 else "9-16" if size < 10**16 else "17-32"


def _merge_texts(shapes: Iterable[str]) -> str:
    return json.dumps(merge_shapes(map(json.loads, shapes)), ensure_ascii=False, separators=(",", ":"))


def merge_shapes(shapes: Iterable[Any]) -> Any:
    """Return a parsed shape that covers all of several parsed shapes.

    Alternatives of a word are joined by ``|``, a field that an object lacks is ``absent``, and a list and an object in
    one place are ``mixed``.
    """
    alternatives = list(shapes)
    if all(isinstance(shape, dict) for shape in alternatives):
        objects = cast("list[dict[str, Any]]", alternatives)
        names = dict.fromkeys(name for shape in objects for name in shape)
        return {name: merge_shapes([shape.get(name, "absent") for shape in objects]) for name in names}
    if all(isinstance(shape, list) for shape in alternatives):
        entries = [entry for shape in cast("list[list[Any]]", alternatives) for entry in shape]
        return [merge_shapes(entries)] if entries else []
    if all(isinstance(shape, str) for shape in alternatives):
        return "|".join(sorted({term for shape in alternatives for term in cast("str", shape).split("|")}))
    containers: list[object] = [shape for shape in alternatives if not isinstance(shape, str)]
    is_optional = len({type(shape) for shape in containers}) == 1 and set(alternatives_of(alternatives)) <= _NO_VALUE
    return merge_shapes(containers) if is_optional else "mixed"


def alternatives_of(shapes: Iterable[Any]) -> Iterable[str]:
    """Yield the words among shapes, each alternative by itself."""
    for shape in shapes:
        if isinstance(shape, str):
            yield from shape.split("|")


def object_in(shape: object) -> dict[str, Any] | None:
    """Return the shape of an object; None for any other shape."""
    return cast("dict[str, Any]", shape) if isinstance(shape, dict) else None


def list_in(shape: object) -> list[Any] | None:
    """Return the shape of a list; None for any other shape."""
    return shape if isinstance(shape, list) else None  # pyright: ignore[reportUnknownVariableType]
