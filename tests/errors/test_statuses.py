"""Error classes of status codes: their bases, ``executed``, and the mapping of codes."""

import pytest

from paystar_async.errors import (
    BY_STATUS,
    http_may_have_executed,
    status_class,
)

STATUSES: dict[int | str, tuple[str, str]] = {
    0: ("ServerFault", "maybe"),
    2: ("ApplicationNotFound", "no"),
    3: ("ApplicationInactive", "no"),
    4: ("InvalidToken", "no"),
    5: ("ExpiredToken", "no"),
    6: ("WrongAccessPassword", "no"),
    7: ("IpNotAllowed", "no"),
    8: ("ServiceDisabled", "no"),
    9: ("InsufficientBalance", "no"),
    10: ("InvalidInput", "no"),
    11: ("UpstreamError", "maybe"),
    12: ("SettingsMissing", "no"),
    13: ("InvalidRefreshToken", "no"),
    -1: ("InvalidRequest", "no"),
    -2: ("GatewayInactive", "no"),
    -3: ("TokenUsed", "no"),
    -4: ("AboveCeiling", "no"),
    -5: ("UnknownRefNum", "no"),
    -6: ("AlreadyVerified", "no"),
    -7: ("ParameterMismatch", "no"),
    -8: ("NotVerifiable", "no"),
    -9: ("VerificationFailed", "no"),
    -16: ("FeeWalletShort", "no"),
    -98: ("PaymentFailed", "no"),
    -99: ("GatewayFault", "maybe"),
    "unauthenticated": ("Unauthenticated", "no"),
}


def test_status_classes_and_executed_match_table() -> None:
    assert {status: (kind.__name__, kind.executed) for status, kind in BY_STATUS.items()} == STATUSES


@pytest.mark.parametrize("status", BY_STATUS)
def test_status_class_has_docstring_and_hint(status: int | str) -> None:
    kind = BY_STATUS[status]
    docstring = kind.__doc__ or ""

    assert docstring.strip("`").startswith(str(status)), "the docstring begins with the status"
    assert docstring.endswith(".")
    assert len(kind.hint) > 10
    assert kind("?" if isinstance(status, str) else status, "m").hint == kind.hint


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (-100, "StatusError"),
        (-101, "InvalidRequest"),
        (-116, "FeeWalletShort"),
        (-198, "PaymentFailed"),
        (-199, "GatewayFault"),
        (-110, "StatusError"),
        (-200, "StatusError"),
        (-(2**63), "StatusError"),
        (1, "StatusError"),
        (104, "StatusError"),
        ("4", "StatusError"),
        ("unauthenticated", "Unauthenticated"),
    ],
)
def test_status_class_maps_code_to_class(status: int | str, kind: str) -> None:
    assert status_class(status).__name__ == kind


def test_http_may_have_executed_statuses() -> None:
    statuses = {status for status in range(100, 600) if http_may_have_executed(status)}

    assert statuses == {*range(300, 400), 408, 429, *range(500, 600)}
