"""The callback of the payer's browser: a hint that anyone can forge; only verify proves a payment."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, cast

from attrs import NOTHING, Attribute, field, frozen

from paystar_async.errors import InvalidValue
from paystar_async.errors.text import describe_type
from paystar_async.values.masking import describe_value, mask_card
from paystar_async.values.text import CALLBACK_FIELDS, read_text

MAX_FIELD_CHARS = 512


def _parse_field(fields: Mapping[str, object], name: str) -> str | None:
    """Return a field as one line of text; a field may be repeated with the same value."""
    value = fields.get(name)
    values = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [value]
    texts = {_parse_text(name, value) for value in values}
    if len(texts) > 1:
        raise InvalidValue(name, expected="one value", got=f"{len(texts)} different values", hint="not from Paystar")
    return texts.pop() if texts else None


def _parse_text(name: str, value: object) -> str | None:
    """Return a field's value as text, or None if it is empty; raise InvalidValue if it is not a line of text."""
    if value is None or value == "":
        return None
    with suppress(ValueError):  # of an integer of some thousand digits
        value = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return _read_line(name, value, hint="not from Paystar")


def _read_line(name: str, value: object, *, hint: str | None = None) -> str:
    try:
        # As strict as for values to send, and no stricter: an order_id that could be sent can come back.
        return read_text(value, min_length=1, max_length=MAX_FIELD_CHARS)
    except ValueError as error:
        cause = str(error)
    raise InvalidValue(
        name,
        expected=f"a line of at most {MAX_FIELD_CHARS} characters",
        got=describe_value(value),
        hint=hint or cause,
    )


def _validate_text(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if attribute.default is NOTHING or value not in (None, ""):
        _read_line(attribute.name, value)


@frozen(kw_only=True)
class Callback:
    """The fields of a callback, by GET or POST; ``parse`` reads them.

    Attributes:
        status: ``"1"`` for paid, ``"-98"`` for cancelled; it proves nothing.
        order_id: your order.
        ref_num: the gateway's transaction.
        transaction_id: the gateway's number of the transaction.
        card_number: the payer's card, masked; None on failure.
        hashed_card_number: the payer's card as the gateway hashes it; None on failure.
        tracking_code: the receipt number; None on failure.

    Raises:
        InvalidValue: a field is not a line of text.
    """

    status: str = field(validator=_validate_text)
    order_id: str = field(validator=_validate_text)
    ref_num: str = field(validator=_validate_text)
    transaction_id: str | None = field(default=None, validator=_validate_text)
    card_number: str | None = field(default=None, validator=_validate_text, repr=mask_card)
    hashed_card_number: str | None = field(default=None, validator=_validate_text, repr=False)
    tracking_code: str | None = field(default=None, validator=_validate_text)

    @classmethod
    def parse(cls, fields: Mapping[str, object], /) -> Self:
        """Parse the mapping of a query string or a form.

        Args:
            fields: texts by name; lists of texts are accepted, unknown names are ignored.

        Raises:
            InvalidValue: ``status``, ``order_id`` or ``ref_num`` is missing, or a field is not a line of text or is
                repeated with different values. Respond to the browser with 400.

        Source: the reference's "Callback Payload"
        """
        mapping = cast("object", fields)
        if not isinstance(mapping, Mapping):
            raise InvalidValue("callback", expected="a mapping of names to texts", got=describe_type(mapping))
        texts = {name: _parse_field(fields, name) for name in CALLBACK_FIELDS}
        for name in ("status", "order_id", "ref_num"):
            if texts[name] is None:
                raise InvalidValue(name, expected="a text", got="nothing", hint="not a callback of Paystar")
        return cls(**texts)  # type: ignore[arg-type]

    @property
    def claims_paid(self) -> bool:
        """Return True if the callback claims that the payment was made."""
        return self.status == "1"

    @property
    def claims_cancelled(self) -> bool:
        """Return True if the callback claims that the payer cancelled."""
        return self.status in {"-98", "-198"}
