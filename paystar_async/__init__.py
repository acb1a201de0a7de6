"""Asyncio-native SDK for Paystar: identity checks, bank transfers, inquiries, payment gateway, wallet payouts.

``async with Paystar.from_env() as paystar:`` is the way in; ``table.py`` lists every endpoint.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from paystar_async._version import VERSION as __version__

if TYPE_CHECKING:
    from paystar_async.client import Paystar
    from paystar_async.credentials import Application, Gateway, Realm, Wallet
    from paystar_async.endpoint import Endpoint, Middleware, Request, Safety, Send
    from paystar_async.models.gateway import Allotment, CreatePayment, InquirePayment, PaymentPage, VerifyPayment
    from paystar_async.models.identity import MatchCard, MatchIban, MatchMobile
    from paystar_async.models.inquiry import AccountToIban, CardToIban, InquireIban
    from paystar_async.models.keys import RefreshApplicationKey, RefreshInquiryKey, RefreshWalletKey
    from paystar_async.models.transfers import FindTransfers, GetBalance, GetStatement, Settle, Transfer, new_track_id
    from paystar_async.models.wallet import FindWalletTransfers, GetWalletBalance, SettleWallet, WalletTransfer
    from paystar_async.payments.callback import Callback
    from paystar_async.payouts.models import Policy
    from paystar_async.response import Response
    from paystar_async.runtime.clock import ManualClock
    from paystar_async.runtime.events import Event
    from paystar_async.storage.encryption import Crypto
    from paystar_async.values.numbers import Rial, Toman
    from paystar_async.values.secret import Secret

_HOMES = {
    "credentials": ("Application", "Gateway", "Realm", "Wallet"),
    "client": ("Paystar",),
    "runtime.clock": ("ManualClock",),
    "endpoint": ("Endpoint", "Middleware", "Request", "Safety", "Send"),
    "response": ("Response",),
    "runtime.events": ("Event",),
    "storage.encryption": ("Crypto",),
    "models.gateway": ("Allotment", "CreatePayment", "InquirePayment", "PaymentPage", "VerifyPayment"),
    "models.identity": ("MatchCard", "MatchIban", "MatchMobile"),
    "models.inquiry": ("AccountToIban", "CardToIban", "InquireIban"),
    "models.keys": ("RefreshApplicationKey", "RefreshInquiryKey", "RefreshWalletKey"),
    "models.transfers": ("new_track_id", "FindTransfers", "GetBalance", "GetStatement", "Settle", "Transfer"),
    "models.wallet": ("FindWalletTransfers", "GetWalletBalance", "SettleWallet", "WalletTransfer"),
    "payments.callback": ("Callback",),
    "payouts.models": ("Policy",),
    "values.numbers": ("Rial", "Toman"),
    "values.secret": ("Secret",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AccountToIban",
    "Allotment",
    "Application",
    "Callback",
    "CardToIban",
    "CreatePayment",
    "Crypto",
    "Endpoint",
    "Event",
    "FindTransfers",
    "FindWalletTransfers",
    "Gateway",
    "GetBalance",
    "GetStatement",
    "GetWalletBalance",
    "InquireIban",
    "InquirePayment",
    "ManualClock",
    "MatchCard",
    "MatchIban",
    "MatchMobile",
    "Middleware",
    "PaymentPage",
    "Paystar",
    "Policy",
    "Realm",
    "RefreshApplicationKey",
    "RefreshInquiryKey",
    "RefreshWalletKey",
    "Request",
    "Response",
    "Rial",
    "Safety",
    "Secret",
    "Send",
    "Settle",
    "SettleWallet",
    "Toman",
    "Transfer",
    "VerifyPayment",
    "Wallet",
    "WalletTransfer",
    "__version__",
    "new_track_id",
]


def __getattr__(name: str) -> object:
    # Names are imported at their first use: a service that only queues values never loads an engine.
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
