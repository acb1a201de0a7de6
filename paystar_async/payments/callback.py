"""What the payer's browser brings back. Anybody can write one: it is a hint, and only verify proves a payment."""

from collections.abc import Mapping, Sequence
from typing import Self, cast

from attrs import field, frozen

from paystar_async.errors import InvalidValue
from paystar_async.values.mask import described, mask_card
from paystar_async.values.text import CALLBACK_FIELDS, read_text

LONGEST = 512


def _one(fields: Mapping[str, object], name: str) -> str | None:
    """The field as one line of text; a field that came more than once counts if it always said the same."""
    value = fields.get(name)
    several = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [value]
    texts = {_text(name, one) for one in several}
    if len(texts) > 1:
        raise InvalidValue(name, expected="one value", got=f"{len(texts)} different ones", hint="not from Paystar")
    return texts.pop() if texts else None


def _text(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # refused by the interpreter itself beyond some thousand digits
        # As strict as what is sent, and no stricter: an order_id that could be sent can come back.
        return read_text(value, least=1, most=LONGEST)
    except ValueError:
        pass
    raise InvalidValue(
        name, expected=f"a line of at most {LONGEST} characters", got=described(value), hint="not from Paystar"
    )


@frozen(kw_only=True)
class Callback:
    """The fields the payer came back with, by GET or POST.

    Attributes:
        status: ``"1"`` for paid, ``"-98"`` for cancelled; nothing is proved by it.
        order_id: your order.
        ref_num: the gateway's transaction.
        transaction_id: the gateway's number for it.
        card_number: the payer's card, masked; None on failure.
        hashed_card_number: the same, hashed; None on failure.
        tracking_code: the receipt number; None on failure.
    """

    status: str
    order_id: str
    ref_num: str
    transaction_id: str | None = None
    card_number: str | None = field(default=None, repr=mask_card)
    hashed_card_number: str | None = field(default=None, repr=False)
    tracking_code: str | None = None

    @classmethod
    def parse(cls, fields: Mapping[str, object], /) -> Self:
        """Read a callback from a query string's or a form's mapping.

        Args:
            fields: names and texts; lists of texts are taken too, unknown names are passed over.

        Raises:
            InvalidValue: ``status``, ``order_id`` or ``ref_num`` is missing, or a field is no line of text or came
                twice with different values. Answer the browser with 400.

        Source: the reference's "Callback Payload"
        """
        given = cast("object", fields)
        if not isinstance(given, Mapping):
            raise InvalidValue("callback", expected="a mapping of names to texts", got=f"a {type(given).__name__}")
        read = {name: _one(fields, name) for name in CALLBACK_FIELDS}
        for name in ("status", "order_id", "ref_num"):
            if read[name] is None:
                raise InvalidValue(name, expected="a text", got="nothing", hint="not a callback of Paystar")
        return cls(**read)  # type: ignore[arg-type]

    @property
    def says_paid(self) -> bool:
        """Whether it claims that the payment was made."""
        return self.status == "1"

    @property
    def says_cancelled(self) -> bool:
        """Whether it claims that the payer turned back."""
        return self.status in {"-98", "-198"}
