"""The table of endpoints.

Each entry defines the typed method in ``services.py``, the sandbox's route, the command, the OpenAPI operation and the
entry in the reference. To add an endpoint, add its request class to ``models/`` and an entry here, then run
``python -m paystar_async.describe``.
"""

from collections.abc import Mapping
from typing import Any, Literal

from paystar_async.credentials import Realm
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.errors import InvalidValue
from paystar_async.errors.text import describe_type
from paystar_async.models.base import Call
from paystar_async.models.gateway import CreatePayment, InquirePayment, PaymentPage, VerifyPayment
from paystar_async.models.identity import MatchCard, MatchIban, MatchMobile
from paystar_async.models.inquiry import AccountToIban, CardToIban, InquireIban
from paystar_async.models.keys import RefreshApplicationKey, RefreshInquiryKey, RefreshWalletKey
from paystar_async.models.transfers import FindTransfers, GetBalance, GetStatement, Settle
from paystar_async.models.wallet import FindWalletTransfers, GetWalletBalance, SettleWallet

_CREATE = ("amount", "order_id", "callback")
_VERIFY = ("amount", "ref_num", "card_number", "tracking_code")
_WALLET = ("wallet_hashid", "password")

TABLE: tuple[Endpoint, ...] = (
    Endpoint(
        service="identity",
        name="match_mobile",
        method="POST",
        path="/open-banking/service/info-matching/mobile-national-id",
        request=MatchMobile,
        realm=Realm.APPLICATION,
        safety=Safety.READ,
    ),
    Endpoint(
        service="identity",
        name="match_card",
        method="POST",
        path="/open-banking/service/info-matching/card-national-id",
        request=MatchCard,
        realm=Realm.APPLICATION,
        safety=Safety.READ,
    ),
    Endpoint(
        service="identity",
        name="match_iban",
        method="POST",
        path="/open-banking/service/info-matching/iban-national-id",
        request=MatchIban,
        realm=Realm.APPLICATION,
        safety=Safety.READ,
    ),
    Endpoint(
        service="inquiry",
        name="account_to_iban",
        method="POST",
        path="/open-banking/service/bank-inquiry/account-to-iban",
        request=AccountToIban,
        realm=Realm.APPLICATION,
        safety=Safety.READ,
    ),
    Endpoint(
        service="inquiry",
        name="card_to_iban",
        method="POST",
        path="/open-banking/service/bank-inquiry/card-to-iban",
        request=CardToIban,
        realm=Realm.APPLICATION,
        safety=Safety.READ,
    ),
    Endpoint(
        service="inquiry",
        name="iban",
        method="POST",
        path="/open-banking/service/bank-inquiry/iban-inquiry",
        request=InquireIban,
        realm=Realm.APPLICATION,
        safety=Safety.READ,
    ),
    Endpoint(
        service="transfers",
        name="settle",
        method="POST",
        path="/bank-transfer/v2/settlement",
        request=Settle,
        realm=Realm.APPLICATION,
        safety=Safety.ONCE,
        lookup="transfers.find",
    ),
    Endpoint(
        service="transfers",
        name="find",
        method="GET",
        path="/bank-transfer/settlement-requests",
        request=FindTransfers,
        realm=Realm.APPLICATION,
        safety=Safety.READ,
    ),
    Endpoint(
        service="transfers",
        name="balance",
        method="GET",
        path="/open-banking/service/balance",
        request=GetBalance,
        realm=Realm.APPLICATION,
        safety=Safety.READ,
    ),
    Endpoint(
        service="transfers",
        name="statement",
        method="GET",
        path="/open-banking/service/invoice",
        request=GetStatement,
        realm=Realm.APPLICATION,
        safety=Safety.READ,
    ),
    Endpoint(
        service="gateway",
        name="create",
        method="POST",
        path="{gateway}/create",
        request=CreatePayment,
        realm=Realm.GATEWAY,
        safety=Safety.ONCE,
        signed_fields=_CREATE,
    ),
    Endpoint(
        service="gateway",
        name="payment_url",
        method="GET",
        path="{gateway}/payment",
        request=PaymentPage,
        realm=Realm.GATEWAY,
        safety=Safety.READ,
        kind="page",
    ),
    Endpoint(
        service="gateway",
        name="verify",
        method="POST",
        path="{gateway}/verify",
        request=VerifyPayment,
        realm=Realm.GATEWAY,
        safety=Safety.ONCE,
        lookup="gateway.inquiry",
        signed_fields=_VERIFY,
    ),
    Endpoint(
        service="gateway",
        name="inquiry",
        method="POST",
        path="{gateway}/inquiry",
        request=InquirePayment,
        realm=Realm.GATEWAY,
        safety=Safety.READ,
        signed_fields=_VERIFY,
    ),
    Endpoint(
        service="wallet",
        name="settle",
        method="POST",
        path="/wallet/create-settlement",
        request=SettleWallet,
        realm=Realm.WALLET,
        safety=Safety.ONCE,
        lookup="wallet.find",
        signed_fields=_WALLET,
    ),
    Endpoint(
        service="wallet",
        name="find",
        method="GET",
        path="/wallet/settlement-requests",
        request=FindWalletTransfers,
        realm=Realm.INQUIRY,
        safety=Safety.READ,
    ),
    Endpoint(
        service="wallet",
        name="balance",
        method="GET",
        path="/wallet/wallets-balance",
        request=GetWalletBalance,
        realm=Realm.INQUIRY,
        safety=Safety.READ,
    ),
    Endpoint(
        service="keys",
        name="refresh_application_key",
        method="POST",
        path="/open-banking/application/refresh-api-key",
        aliases=("/application/refresh-api-key",),
        request=RefreshApplicationKey,
        realm=Realm.APPLICATION,
        safety=Safety.ONCE,
        refresh_token_field="refresh_token",
    ),
    Endpoint(
        service="keys",
        name="refresh_wallet_key",
        method="POST",
        path="/wallet/refresh-api-key",
        request=RefreshWalletKey,
        realm=Realm.WALLET,
        safety=Safety.ONCE,
        signed_fields=_WALLET,
        refresh_token_field="refresh_token",
    ),
    Endpoint(
        service="keys",
        name="refresh_inquiry_key",
        method="POST",
        path="/wallet/refresh-inquiry-key",
        request=RefreshInquiryKey,
        realm=Realm.INQUIRY,
        safety=Safety.ONCE,
        signed_fields=_WALLET,
        refresh_token_field="refresh_inquiry_key",
    ),
)

BY_REQUEST: Mapping[type[Call[Any]], Endpoint] = {endpoint.request: endpoint for endpoint in TABLE}
BY_ID: Mapping[str, Endpoint] = {endpoint.id: endpoint for endpoint in TABLE}
REFRESH_ENDPOINTS: Mapping[Realm, Endpoint] = {
    endpoint.realm: endpoint for endpoint in TABLE if endpoint.refresh_token_field
}


def endpoint_of(value: object, kind: Literal["call", "page"]) -> Endpoint:
    """Return the endpoint of a request; raise InvalidValue if it is not a request, or of another kind."""
    endpoint = BY_REQUEST.get(type(value))  # type: ignore
    if endpoint is None or endpoint.kind != kind:
        # The payer's browser opens a page once; a request from here would use the token up.
        hint = f"{endpoint.id} is a {endpoint.kind}" if endpoint else "such as MatchMobile(...)"
        raise InvalidValue("value", expected=f"the request of a {kind}", got=describe_type(value), hint=hint)
    return endpoint
