"""A text that shows itself only when asked by name."""

import hmac
from typing import Never


class Secret:
    """A password, key or token: no ``repr``, ``str``, format, pickle or copy ever shows it; ``reveal()`` does."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; called where a request is written, and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Half a surrogate pair comes out of an environment that is not UTF-8; comparing it must not fail.
        return hmac.compare_digest(*(one.reveal().encode(errors="surrogatepass") for one in (self, other)))

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> Never:
        raise TypeError("a Secret is not pickled: hand the account over by other means")


def to_secret(value: "str | Secret") -> Secret:
    """A Secret of a text or of a Secret."""
    return value if isinstance(value, Secret) else Secret(value)


def to_optional_secret(value: "str | Secret | None") -> Secret | None:
    """The same, None staying None."""
    return None if value is None else to_secret(value)
