"""Error classes of Paystar's status codes, and the table that maps codes to classes.

To add a status code, add a class and a line in ``BY_STATUS``. The payout classifier uses ``executed`` of these classes.
"""

from collections.abc import Mapping
from typing import ClassVar

from paystar_async.errors.base import Executed, StatusError


class ServerFault(StatusError):
    """0: internal server error."""

    hint = "Paystar failed while processing the call; check the status before repeating"


class ApplicationNotFound(StatusError):
    """2: application not found."""

    executed: Executed = "no"
    hint = "check application_id (PAYSTAR_APPLICATION_ID)"


class ApplicationInactive(StatusError):
    """3: application inactive."""

    executed: Executed = "no"
    hint = "have the application activated in the Paystar panel"


class InvalidToken(StatusError):
    """4: invalid auth token, also after one key refresh if a refresh is possible."""

    executed: Executed = "no"
    hint = "check api_key and refresh_token; keys.replace(...) installs a new pair"


class ExpiredToken(StatusError):
    """5: expired auth token, also after one key refresh if a refresh is possible."""

    executed: Executed = "no"
    hint = "configure a refresh_token so that the key can be refreshed, or call keys.replace(...)"


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
    """9: the balance of the banking wallet is too low."""

    executed: Executed = "no"
    hint = "top up the wallet, then send the same transfer again"


class InvalidInput(StatusError):
    """10: invalid input data; ``fields`` names the fields."""

    executed: Executed = "no"
    hint = "correct the named fields and call again"
    credential_fields: ClassVar[Mapping[str, str]] = {
        "wallet_hashid": "the wallet's hashid (PAYSTAR_WALLET_HASHID)",
        "password": "the wallet's password (PAYSTAR_WALLET_PASSWORD)",
        "sign": "the wallet's sign_key (PAYSTAR_WALLET_SIGN_KEY)",
        "application_id": "application_id (PAYSTAR_APPLICATION_ID)",
        "access_password": "access_password (PAYSTAR_ACCESS_PASSWORD)",
    }


class UpstreamError(StatusError):
    """11: the bank or provider behind Paystar failed."""

    hint = "the bank may have executed the call; check the status before repeating"


class SettingsMissing(StatusError):
    """12: the open-banking settings are missing."""

    executed: Executed = "no"
    hint = "complete the open-banking settings in the Paystar panel"


class InvalidRefreshToken(StatusError):
    """13: the refresh token is no longer accepted."""

    executed: Executed = "no"
    hint = "get a new key pair from the Paystar panel and install the pair with keys.replace(...)"


class GatewayError(StatusError):
    """The base class of the payment gateway's statuses."""

    executed: Executed = "no"
    hint = ""


class InvalidRequest(GatewayError):
    """-1: the request or its signature is invalid."""

    # assumed (bad-sign-status): the reference says only "invalid request".
    hint = (
        "check the sign key, or configure one if the gateway expects signatures; verify signs the callback's own "
        "masked card_number and tracking_code"
    )


class GatewayInactive(GatewayError):
    """-2: the gateway is not active."""

    hint = "have the gateway activated in the Paystar panel"


class TokenUsed(GatewayError):
    """-3: the payment token is already used."""

    hint = "create a new payment; a token opens the page once"


class AboveCeiling(GatewayError):
    """-4: the amount is above the gateway's ceiling."""

    hint = "lower the amount (Rial) or have the ceiling raised"


class UnknownRefNum(GatewayError):
    """-5: no transaction has this ref_num."""

    hint = "use the ref_num that create returned"


class AlreadyVerified(GatewayError):
    """-6: the payment is already verified; inquiry returns the result."""

    hint = "not a failure: gateway.inquiry returns the result"


class ParameterMismatch(GatewayError):
    """-7: the parameters do not match the transaction."""

    hint = "send the amount given to create (Rial, not Toman) and the callback's own card_number and tracking_code"


class NotVerifiable(GatewayError):
    """-8: the payment was not paid, or verified too late."""

    hint = "a payment that is not verified within ten minutes is returned to the payer"


class VerificationFailed(GatewayError):
    """-9: the verification failed."""

    hint = "check the status with gateway.inquiry before deciding"


class FeeWalletShort(GatewayError):
    """-16: the balance of the fee wallet is too low."""

    hint = "top up the fee wallet"


class PaymentFailed(GatewayError):
    """-98: the payment failed or was cancelled by the payer."""

    hint = "nothing was paid; the payer may try again with a new payment"


class GatewayFault(GatewayError):
    """-99: system error at the gateway."""

    executed: Executed = "maybe"
    hint = "the gateway failed while processing the call; check gateway.inquiry before repeating"


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


def without_gateway_offset(status: int | str) -> int | str:
    """Return a gateway code without the -100 that some gateways add to it (``-106`` is ``-6``)."""
    return status + 100 if isinstance(status, int) and status < -100 else status


def status_class(status: int | str) -> type[StatusError]:
    """Return the error class of a status."""
    # assumed (unknown-status): every status is listed; any other status has no class, and is not a success.
    return BY_STATUS.get(without_gateway_offset(status), StatusError)


def http_may_have_executed(http_status: int) -> bool:
    """Return True if a request may have been executed although its response has this HTTP status."""
    return 300 <= http_status < 400 or http_status in {408, 429} or http_status >= 500
