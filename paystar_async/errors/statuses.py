"""A class for every status Paystar is known to answer, and the one table that finds it.

A new status code is a class here and a line in ``BY_STATUS``; what it says of ``executed`` holds for the errors
and for the payout classifier alike.
"""

from collections.abc import Mapping

from paystar_async.errors.base import Executed, StatusError


class ServerFault(StatusError):
    """0: internal server error."""

    hint = "their side failed midway; ask before repeating"


class ApplicationNotFound(StatusError):
    """2: application not found."""

    executed: Executed = "no"
    hint = "check application_id (PAYSTAR_APPLICATION_ID)"


class ApplicationInactive(StatusError):
    """3: application inactive."""

    executed: Executed = "no"
    hint = "have the application activated in the Paystar panel"


class InvalidToken(StatusError):
    """4: invalid auth token, after it was renewed once where that is possible."""

    executed: Executed = "no"
    hint = "check api_key and refresh_token; keys.replace(...) puts a new pair in place"


class ExpiredToken(StatusError):
    """5: expired auth token, after it was renewed once where that is possible."""

    executed: Executed = "no"
    hint = "give a refresh_token so that the key can be renewed, or keys.replace(...)"


class WrongAccessPassword(StatusError):
    """6: wrong access password."""

    executed: Executed = "no"
    hint = "check access_password (PAYSTAR_ACCESS_PASSWORD)"


class IpNotAllowed(StatusError):
    """7: this host's address is not on the whitelist."""

    executed: Executed = "no"
    hint = "add this server's public address to the application's whitelist in the Paystar panel"


class ServiceDisabled(StatusError):
    """8: the service is disabled for this application."""

    executed: Executed = "no"
    hint = "have the service enabled in the Paystar panel"


class InsufficientBalance(StatusError):
    """9: the banking wallet does not cover it."""

    executed: Executed = "no"
    hint = "top up the wallet, then send the same transfer again"


class InvalidInput(StatusError):
    """10: invalid input data; ``fields`` says which."""

    executed: Executed = "no"
    hint = "correct the fields named and call again"


class UpstreamError(StatusError):
    """11: the bank or provider behind Paystar failed."""

    hint = "the bank may have acted; ask before repeating"


class SettingsMissing(StatusError):
    """12: the open-banking settings are missing."""

    executed: Executed = "no"
    hint = "complete the open-banking settings in the Paystar panel"


class InvalidRefreshToken(StatusError):
    """13: the refresh token is not accepted any more."""

    executed: Executed = "no"
    hint = "take a new key pair from the Paystar panel and put it in place with keys.replace(...)"


class GatewayError(StatusError):
    """Base of the payment gateway's statuses."""

    executed: Executed = "no"
    hint = ""


class InvalidRequest(GatewayError):
    """-1: the request is invalid, its signature included."""

    hint = (
        "check the sign key, or give one if the gateway expects signatures; verify signs the callback's own masked "
        "card_number and tracking_code"
    )


class GatewayInactive(GatewayError):
    """-2: the gateway is not active."""

    hint = "have the gateway activated in the Paystar panel"


class TokenUsed(GatewayError):
    """-3: the payment token was used before."""

    hint = "create a new payment; a token opens the page once"


class AboveCeiling(GatewayError):
    """-4: the amount is above the gateway's ceiling."""

    hint = "lower the amount (Rial) or have the ceiling raised"


class UnknownRefNum(GatewayError):
    """-5: no transaction has this ref_num."""

    hint = "use the ref_num that create answered with"


class AlreadyVerified(GatewayError):
    """-6: verified before; inquiry says what it was."""

    hint = "not a failure: ask gateway.inquiry, it holds the result"


class ParameterMismatch(GatewayError):
    """-7: the parameters do not fit the transaction."""

    hint = "send the amount given to create (Rial, not Toman) and the callback's own card_number and tracking_code"


class NotVerifiable(GatewayError):
    """-8: not paid, or verified too late."""

    hint = "what is not verified in ten minutes goes back to the payer"


class VerificationFailed(GatewayError):
    """-9: the verification failed."""

    hint = "ask gateway.inquiry before you decide"


class FeeWalletShort(GatewayError):
    """-16: the wallet that pays the fee is short."""

    hint = "top up the fee wallet"


class PaymentFailed(GatewayError):
    """-98: the payment failed or was cancelled by the payer."""

    hint = "nothing was paid; the payer may try again with a new payment"


class GatewayFault(GatewayError):
    """-99: system error at the gateway."""

    executed: Executed = "maybe"
    hint = "their side failed midway; ask gateway.inquiry before repeating"


class Unauthenticated(GatewayError):
    """``unauthenticated``: the gateway_id is not accepted."""

    hint = "check the gateway id (PAYSTAR_GATEWAY_ID)"


BY_STATUS: Mapping[int | str, type[StatusError]] = {
    0: ServerFault,
    2: ApplicationNotFound,
    3: ApplicationInactive,
    4: InvalidToken,
    5: ExpiredToken,
    6: WrongAccessPassword,
    7: IpNotAllowed,
    8: ServiceDisabled,
    9: InsufficientBalance,
    10: InvalidInput,
    11: UpstreamError,
    12: SettingsMissing,
    13: InvalidRefreshToken,
    -1: InvalidRequest,
    -2: GatewayInactive,
    -3: TokenUsed,
    -4: AboveCeiling,
    -5: UnknownRefNum,
    -6: AlreadyVerified,
    -7: ParameterMismatch,
    -8: NotVerifiable,
    -9: VerificationFailed,
    -16: FeeWalletShort,
    -98: PaymentFailed,
    -99: GatewayFault,
    "unauthenticated": Unauthenticated,
}


def status_class(status: int | str) -> type[StatusError]:
    """The error class of a status; a gateway code less 100 is the code itself (``-106`` is ``-6``)."""
    if isinstance(status, int) and status < -100:
        status = status + 100
    return BY_STATUS.get(status, StatusError)


def http_may_have_executed(http_status: int) -> bool:
    """Whether an answer of this HTTP status leaves it open that the request was carried out."""
    return 300 <= http_status < 400 or http_status in {408, 429} or http_status >= 500
