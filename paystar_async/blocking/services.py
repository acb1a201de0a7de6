"""The services as typed, blocking methods, one per endpoint of the table.

Generated from ``table.py`` by ``python -m paystar_async.describe``; edits here are overwritten.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol, TypeVar

from paystar_async.models.base import Call
from paystar_async.models.gateway import (
    Allotment,
    Created,
    CreatePayment,
    GatewayTransaction,
    InquirePayment,
    PaymentPage,
    Verified,
    VerifyPayment,
)
from paystar_async.models.identity import Match, MatchCard, MatchIban, MatchMobile
from paystar_async.models.inquiry import AccountToIban, CardToIban, IbanInfo, InquireIban
from paystar_async.models.keys import (
    NewApiKey,
    NewInquiryKey,
    RefreshApplicationKey,
    RefreshInquiryKey,
    RefreshWalletKey,
)
from paystar_async.models.transfers import (
    Balance,
    FindTransfers,
    GetBalance,
    GetStatement,
    Settle,
    Settlement,
    Statement,
    Transfer,
)
from paystar_async.models.wallet import (
    Accepted,
    FindWalletTransfers,
    GetWalletBalance,
    SettleWallet,
    WalletBalance,
    WalletTransfer,
)
from paystar_async.response import Response
from paystar_async.values.dates import JalaliDay
from paystar_async.values.secret import hide_method_arguments

T = TypeVar("T")


class BlockingCaller(Protocol):
    """A client, as far as the methods use it: it sends a request value and builds the address of a page."""

    def send(self, value: Call[T], /, *, timeout: float | None = None) -> Response[T]:
        """Send a request value and return its response."""
        ...

    def page(self, value: Call[str], /) -> str:
        """Return the address of a page; nothing is sent."""
        ...


@hide_method_arguments
class BlockingIdentityCalls:
    """Identity checks: whether a person owns a mobile number, card or IBAN."""

    def __init__(self, caller: BlockingCaller) -> None:
        self._caller = caller

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._caller!r}>"

    def match_mobile(self, *, national_id: str, mobile_number: str, timeout: float | None = None) -> Match:
        """Check whether a mobile number belongs to a national id (Shahkar).

        ``POST /open-banking/service/info-matching/mobile-national-id``. Read-only: safe to retry.

        Args:
            national_id: national id; 10 digits.
            mobile_number: mobile number; 09 and 9 digits.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            Match: The result of an identity check: whether both values belong to the same person.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(MatchMobile(national_id=national_id, mobile_number=mobile_number), timeout=timeout)
        return response.value

    def match_card(
        self,
        *,
        national_id: str,
        card_number: str,
        birth_date: date | str | JalaliDay,
        timeout: float | None = None,
    ) -> Match:
        """Check whether a bank card belongs to a national id.

        ``POST /open-banking/service/info-matching/card-national-id``. Read-only: safe to retry.

        Args:
            national_id: national id; 10 digits.
            card_number: card number; 16 digits.
            birth_date: the person's birth date; a day: a date, a Jalali date, or a Gregorian YYYY-MM-DD.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            Match: The result of an identity check: whether both values belong to the same person.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(
            MatchCard(national_id=national_id, card_number=card_number, birth_date=birth_date),
            timeout=timeout,
        )
        return response.value

    def match_iban(
        self,
        *,
        national_id: str,
        iban: str,
        birth_date: date | str | JalaliDay,
        timeout: float | None = None,
    ) -> Match:
        """Check whether an IBAN belongs to a national id.

        ``POST /open-banking/service/info-matching/iban-national-id``. Read-only: safe to retry.

        Args:
            national_id: national id; 10 digits.
            iban: IBAN; IR and 24 digits.
            birth_date: the person's birth date; a day: a date, a Jalali date, or a Gregorian YYYY-MM-DD.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            Match: The result of an identity check: whether both values belong to the same person.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(
            MatchIban(national_id=national_id, iban=iban, birth_date=birth_date),
            timeout=timeout,
        )
        return response.value


@hide_method_arguments
class BlockingInquiryCalls:
    """Bank account inquiries: IBAN, bank and owners."""

    def __init__(self, caller: BlockingCaller) -> None:
        self._caller = caller

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._caller!r}>"

    def account_to_iban(self, *, account_number: str, bank_id: str, timeout: float | None = None) -> IbanInfo:
        """Find the IBAN of an account number.

        ``POST /open-banking/service/bank-inquiry/account-to-iban``. Read-only: safe to retry.

        Args:
            account_number: account number; 5 to 26 digits, dots, dashes and slashes.
            bank_id: bank id; 3 digits.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            IbanInfo: A bank account: its IBAN, bank, number, state and owners, as far as the bank reports them.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(AccountToIban(account_number=account_number, bank_id=bank_id), timeout=timeout)
        return response.value

    def card_to_iban(self, *, card: str, timeout: float | None = None) -> IbanInfo:
        """Find the IBAN of a bank card.

        ``POST /open-banking/service/bank-inquiry/card-to-iban``. Read-only: safe to retry.

        Args:
            card: the card's number; 16 digits.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            IbanInfo: A bank account: its IBAN, bank, number, state and owners, as far as the bank reports them.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(CardToIban(card=card), timeout=timeout)
        return response.value

    def iban(self, *, iban: str, timeout: float | None = None) -> IbanInfo:
        """Find the bank and the owners of an IBAN.

        ``POST /open-banking/service/bank-inquiry/iban-inquiry``. Read-only: safe to retry.

        Args:
            iban: IBAN; IR and 24 digits.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            IbanInfo: A bank account: its IBAN, bank, number, state and owners, as far as the bank reports them.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(InquireIban(iban=iban), timeout=timeout)
        return response.value


@hide_method_arguments
class BlockingTransfersCalls:
    """Bank transfers, balances and statements."""

    def __init__(self, caller: BlockingCaller) -> None:
        self._caller = caller

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._caller!r}>"

    def settle(self, *, transfers: Sequence[Transfer], timeout: float | None = None) -> list[Settlement]:
        """Send bank transfers.

        ``POST /bank-transfer/v2/settlement``. Never retried once it may have been sent; ``transfers.find`` looks up its
        result.

        Args:
            transfers: the transfers, each track_id once; a list of Transfer, each with a unique track_id.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            list[Settlement]: The reported state of a transfer; ``extra`` keeps the bank's further fields.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it may have been executed: look it up with ``transfers.find`` before you
                call again.
            InvalidResponse: the response cannot be read; it may have been executed: look it up with ``transfers.find``
                before you call again.
            StatusError: Paystar refused, the class says why; if ``executed`` is "maybe", look it up with
                ``transfers.find`` before you call again.
        """
        response = self._caller.send(Settle(transfers=transfers), timeout=timeout)
        return response.value

    def find(
        self,
        *,
        deposit: str | None = None,
        track_id: str | None = None,
        limit: int | None = None,
        skip: int | None = None,
        timeout: float | None = None,
    ) -> list[Settlement]:
        """List transfer requests, newest first.

        ``GET /bank-transfer/settlement-requests``. Read-only: safe to retry.

        Args:
            deposit: only transfers from this deposit account; 5 to 26 digits, dots, dashes and slashes.
            track_id: only this transfer; 1 to 64 printable ASCII characters without spaces.
            limit: the largest number of results; an int, 1 to 500.
            skip: the number of results to skip; an int, 0 or more.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            list[Settlement]: The reported state of a transfer; ``extra`` keeps the bank's further fields.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(
            FindTransfers(deposit=deposit, track_id=track_id, limit=limit, skip=skip),
            timeout=timeout,
        )
        return response.value

    def balance(self, *, account_number: str, timeout: float | None = None) -> Balance:
        """Read an account's balance (Export Bank accounts only).

        ``GET /open-banking/service/balance``. Read-only: safe to retry.

        Args:
            account_number: account number; 5 to 26 digits, dots, dashes and slashes.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            Balance: The balance of an account, in Rial.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(GetBalance(account_number=account_number), timeout=timeout)
        return response.value

    def statement(
        self,
        *,
        account_number: str,
        from_date: date | str | JalaliDay,
        to_date: date | str | JalaliDay | None = None,
        timeout: float | None = None,
    ) -> Statement:
        """Read an account's statement.

        ``GET /open-banking/service/invoice``. Read-only: safe to retry.

        Args:
            account_number: account number; 5 to 26 digits, dots, dashes and slashes.
            from_date: first day; a day: a date, a Jalali date, or a Gregorian YYYY-MM-DD.
            to_date: last day; a day: a date, a Jalali date, or a Gregorian YYYY-MM-DD.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            Statement: The lines of a statement, in the bank's order.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(
            GetStatement(account_number=account_number, from_date=from_date, to_date=to_date),
            timeout=timeout,
        )
        return response.value


@hide_method_arguments
class BlockingGatewayCalls:
    """The payment gateway: create, payment page, verify, inquiry."""

    def __init__(self, caller: BlockingCaller) -> None:
        self._caller = caller

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._caller!r}>"

    def create(
        self,
        *,
        amount: int,
        order_id: str,
        callback: str,
        name: str | None = None,
        phone: str | None = None,
        mail: str | None = None,
        description: str | None = None,
        allotment: Sequence[Allotment] | None = None,
        callback_method: int | None = None,
        wallet_hashid: str | None = None,
        national_code: str | None = None,
        card_number: str | None = None,
        referer_id: str | None = None,
        extra: Mapping[str, object] = {},
        timeout: float | None = None,
    ) -> Created:
        """Create a payment; its token opens the payment page once.

        ``POST /pardakht/create``, ``POST /direct/create`` for a direct gateway. Never retried once it may have been
        sent.

        Args:
            amount: amount in Rial; whole Rial as an int, 5000 or more.
            order_id: order id; a text of 1 to 255 characters without surrounding white space.
            callback: the URL the payer returns to, on the registered domain; an http or https URL with a host, at most
                2048 characters.
            name: the payer's name; a text of 1 to 255 characters.
            phone: the payer's mobile number; 09 and 9 digits.
            mail: the payer's mail address; a text of 1 to 255 characters.
            description: the purpose of the payment; a text of 1 to 255 characters.
            allotment: the parts of the payment by receiver; a list of Allotment.
            callback_method: the HTTP method of the callback; 1 for GET, another whole number for POST.
            wallet_hashid: the wallet the payment goes to; a text of 1 to 128 characters.
            national_code: only this person may pay; 10 digits.
            card_number: only this card may pay; 16 digits.
            referer_id: who referred the payer; a text of 1 to 128 characters.
            extra: further fields, sent unchanged; a mapping of names to JSON values.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            Created: A created payment that waits for its payer.

        Raises:
            ConfigurationError: the gateway is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it may have been executed: a second call may repeat the effect.
            InvalidResponse: the response cannot be read; it may have been executed: a second call may repeat the
                effect.
            StatusError: Paystar refused, the class says why; if ``executed`` is "maybe", a second call may repeat the
                effect.
        """
        response = self._caller.send(
            CreatePayment(
                amount=amount,
                order_id=order_id,
                callback=callback,
                name=name,
                phone=phone,
                mail=mail,
                description=description,
                allotment=allotment,
                callback_method=callback_method,
                wallet_hashid=wallet_hashid,
                national_code=national_code,
                card_number=card_number,
                referer_id=referer_id,
                extra=extra,
            ),
            timeout=timeout,
        )
        return response.value

    def payment_url(self, *, token: str) -> str:
        """Return the URL of the payment page for the payer's browser; no request is sent.

        ``GET /pardakht/payment``, ``GET /direct/payment`` for a direct gateway. No request is made.

        Args:
            token: the token that create returned; valid once; a text of 1 to 512 characters.

        Returns:
            str: the address.

        Raises:
            ConfigurationError: the gateway is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
        """
        return self._caller.page(PaymentPage(token=token))

    def verify(
        self,
        *,
        ref_num: str,
        amount: int,
        card_number: str,
        tracking_code: str,
        timeout: float | None = None,
    ) -> Verified:
        """Verify a payment within ten minutes after the payer paid; without it the money returns to the payer.

        ``POST /pardakht/verify``, ``POST /direct/verify`` for a direct gateway. Never retried once it may have been
        sent; ``gateway.inquiry`` looks up its result.

        Args:
            ref_num: reference number; a text of 1 to 255 characters.
            amount: the amount given to create; whole Rial as an int, 5000 or more.
            card_number: the payer's card; the masked card number of the callback, or an empty text if the callback had
                none.
            tracking_code: the receipt number; the tracking code of the callback, or an empty text if the callback had
                none.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            Verified: A verified payment; ``price`` is Rial and must equal the requested amount.

        Raises:
            ConfigurationError: the gateway is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it may have been executed: look it up with ``gateway.inquiry`` before you
                call again.
            InvalidResponse: the response cannot be read; it may have been executed: look it up with ``gateway.inquiry``
                before you call again.
            StatusError: Paystar refused, the class says why; if ``executed`` is "maybe", look it up with
                ``gateway.inquiry`` before you call again.
        """
        response = self._caller.send(
            VerifyPayment(ref_num=ref_num, amount=amount, card_number=card_number, tracking_code=tracking_code),
            timeout=timeout,
        )
        return response.value

    def inquiry(
        self,
        *,
        ref_num: str,
        amount: int | None = None,
        card_number: str | None = None,
        tracking_code: str | None = None,
        timeout: float | None = None,
    ) -> GatewayTransaction:
        """Look up the state of a payment; may be repeated. Signed if the amount is given.

        ``POST /pardakht/inquiry``, ``POST /direct/inquiry`` for a direct gateway. Read-only: safe to retry.

        Args:
            ref_num: reference number; a text of 1 to 255 characters.
            amount: the amount given to create; whole Rial as an int, 5000 or more.
            card_number: the payer's card; the masked card number of the callback, or an empty text if the callback had
                none.
            tracking_code: the receipt number; the tracking code of the callback, or an empty text if the callback had
                none.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            GatewayTransaction: The state of a gateway transaction.

        Raises:
            ConfigurationError: the gateway is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(
            InquirePayment(ref_num=ref_num, amount=amount, card_number=card_number, tracking_code=tracking_code),
            timeout=timeout,
        )
        return response.value


@hide_method_arguments
class BlockingWalletCalls:
    """Wallet payouts."""

    def __init__(self, caller: BlockingCaller) -> None:
        self._caller = caller

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._caller!r}>"

    def settle(
        self,
        *,
        transfers: Sequence[WalletTransfer],
        withdraw_type: int | None = None,
        timeout: float | None = None,
    ) -> Accepted:
        """Send transfers from the wallet.

        ``POST /wallet/create-settlement``. Never retried once it may have been sent; ``wallet.find`` looks up its
        result.

        Args:
            transfers: the transfers, each track_id once; a list of WalletTransfer, each with a unique track_id.
            withdraw_type: the payout type; by default chosen by the number of transfers; 7 (single) or 8 (group).
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            Accepted: An accepted request; ``wallet.find`` returns the status of each transfer.

        Raises:
            ConfigurationError: the wallet is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it may have been executed: look it up with ``wallet.find`` before you call
                again.
            InvalidResponse: the response cannot be read; it may have been executed: look it up with ``wallet.find``
                before you call again.
            StatusError: Paystar refused, the class says why; if ``executed`` is "maybe", look it up with
                ``wallet.find`` before you call again.
        """
        response = self._caller.send(SettleWallet(transfers=transfers, withdraw_type=withdraw_type), timeout=timeout)
        return response.value

    def find(self, *, track_id: str, timeout: float | None = None) -> list[Settlement]:
        """Look up a wallet transfer; the service keeps its track_id as ``wallet*track_id*n``.

        ``GET /wallet/settlement-requests``. Read-only: safe to retry.

        Args:
            track_id: track id; 1 to 64 printable ASCII characters without spaces.
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            list[Settlement]: The reported state of a transfer; ``extra`` keeps the bank's further fields.

        Raises:
            ConfigurationError: the wallet is not configured; nothing was sent.
            InvalidValue: a value does not have the expected shape; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(FindWalletTransfers(track_id=track_id), timeout=timeout)
        return response.value

    def balance(self, *, timeout: float | None = None) -> WalletBalance:
        """Read the wallet's balance.

        ``GET /wallet/wallets-balance``. Read-only: safe to retry.

        Args:
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            WalletBalance: The balance of the wallet, in Rial.

        Raises:
            ConfigurationError: the wallet is not configured; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it had no effect, call again.
            InvalidResponse: the response cannot be read; it had no effect.
            StatusError: Paystar refused, the class says why; it had no effect.
        """
        response = self._caller.send(GetWalletBalance(), timeout=timeout)
        return response.value


@hide_method_arguments
class BlockingKeysCalls:
    """Key refreshes."""

    def __init__(self, caller: BlockingCaller) -> None:
        self._caller = caller

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._caller!r}>"

    def refresh_application_key(self, *, timeout: float | None = None) -> NewApiKey:
        """Refresh the application's api_key now; the client refreshes an expiring key by itself.

        ``POST /open-banking/application/refresh-api-key``, ``POST /application/refresh-api-key`` (alias). Never retried
        once it may have been sent.

        Args:
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            NewApiKey: A new api_key, and a new refresh token if the response has one.

        Raises:
            ConfigurationError: the application is not configured; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it may have been executed: a second call may repeat the effect.
            InvalidResponse: the response cannot be read; it may have been executed: a second call may repeat the
                effect.
            StatusError: Paystar refused, the class says why; if ``executed`` is "maybe", a second call may repeat the
                effect.
        """
        response = self._caller.send(RefreshApplicationKey(), timeout=timeout)
        return response.value

    def refresh_wallet_key(self, *, timeout: float | None = None) -> NewApiKey:
        """Refresh the wallet's api_key now; the client refreshes an expiring key by itself.

        ``POST /wallet/refresh-api-key``. Never retried once it may have been sent.

        Args:
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            NewApiKey: A new api_key, and a new refresh token if the response has one.

        Raises:
            ConfigurationError: the wallet is not configured; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it may have been executed: a second call may repeat the effect.
            InvalidResponse: the response cannot be read; it may have been executed: a second call may repeat the
                effect.
            StatusError: Paystar refused, the class says why; if ``executed`` is "maybe", a second call may repeat the
                effect.
        """
        response = self._caller.send(RefreshWalletKey(), timeout=timeout)
        return response.value

    def refresh_inquiry_key(self, *, timeout: float | None = None) -> NewInquiryKey:
        """Refresh the wallet's inquiry_key now; the client refreshes an expiring key by itself.

        ``POST /wallet/refresh-inquiry-key``. Never retried once it may have been sent.

        Args:
            timeout: seconds for the whole call; the client's timeout by default.

        Returns:
            NewInquiryKey: A new inquiry_key, and a new refresh token if the response has one.

        Raises:
            ConfigurationError: the wallet is not configured; nothing was sent.
            NotSent: the request was not sent; it had no effect, call again.
            NoResponse: no response arrived; it may have been executed: a second call may repeat the effect.
            InvalidResponse: the response cannot be read; it may have been executed: a second call may repeat the
                effect.
            StatusError: Paystar refused, the class says why; if ``executed`` is "maybe", a second call may repeat the
                effect.
        """
        response = self._caller.send(RefreshInquiryKey(), timeout=timeout)
        return response.value
