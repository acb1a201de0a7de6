"""The bank behind the sandbox's endpoints: executes each call, one method per endpoint, named after its id."""

import random
import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, cast

from paystar_async.endpoint import Endpoint, Safety
from paystar_async.models.base import fields_of, response_type
from paystar_async.models.gateway import CreatePayment, InquirePayment, VerifyPayment
from paystar_async.models.identity import MatchCard, MatchIban, MatchMobile
from paystar_async.models.inquiry import AccountToIban, CardToIban, InquireIban
from paystar_async.models.transfers import FindTransfers, GetBalance, GetStatement, Settle, Transfer
from paystar_async.models.wallet import FindWalletTransfers, GetWalletBalance, SettleWallet, WalletTransfer
from paystar_async.runtime.clock import Clock
from paystar_async.sandbox.authentication import INVALID_INPUT, Authenticator, KeyIssuer, RawFields, make_identity
from paystar_async.sandbox.clock import format_gregorian
from paystar_async.sandbox.ledger import (
    LedgerEntry,
    LedgerLine,
    TransferLedger,
    debit_lines,
    earlier_credit_lines,
    select_lines,
)
from paystar_async.sandbox.payments import NOT_VERIFIABLE, PARAMETER_MISMATCH, GatewayPayments, Payment
from paystar_async.sandbox.requests import request_class, structure_request
from paystar_async.sandbox.responses import Refusal, SandboxResponse, success_response
from paystar_async.sandbox.settings import Settings
from paystar_async.sandbox.test_data import (
    Person,
    account_from_iban,
    find_owner,
    make_iban,
    make_people,
    sample_value,
)
from paystar_async.values.banks import bank_by_card, bank_by_id

_DEFAULT_LIMIT = 20


class Bank:
    """A play bank: the people, keys, transfers and payments of the sandbox, and the execution of every call.

    Args:
        seed: seed of ids, keys and people.
        clock: clock for key expiry and settlement.
        key_life: seconds a key is valid.
        settings: the sandbox's settings.
    """

    def __init__(self, *, seed: int, clock: Clock, key_life: float, settings: Settings) -> None:
        self._seed, self._clock, self._settings = seed, clock, settings
        self._started_at = clock.time()
        self._identity = make_identity(seed)

        def make_rng(name: str) -> random.Random:
            return random.Random(f"{seed}:{name}")

        # A client may have stored ids of an earlier run with this seed: on a running clock the ids are new.
        run = f"{clock.time()}"

        self.people: tuple[Person, ...] = make_people(seed)
        self.keys = KeyIssuer(clock, settings, make_rng("keys"), key_life)
        self.authenticator = Authenticator(self._identity, self.keys, settings)
        self.deposits = TransferLedger[Transfer](
            clock, settings, make_rng(f"deposits:{run}"), lambda current: current.deposit_opening
        )
        self.wallet = TransferLedger[WalletTransfer](
            clock, settings, make_rng(f"wallet:{run}"), lambda current: current.wallet_opening
        )
        self.payments = GatewayPayments(clock, settings, make_rng(f"payments:{run}"), self.people)

    def handle(
        self, endpoint: Endpoint, bearer: str, raw: RawFields, failure_http: int | None = None
    ) -> SandboxResponse:
        """Execute a call and return its response, which may be a refusal.

        Args:
            endpoint: the called endpoint.
            bearer: the key as received.
            raw: the fields as received.
            failure_http: the HTTP status of a refusal; by default ``settings.failure_http``.
        """
        try:
            self.authenticator.authenticate(endpoint, bearer, raw)
            data = self._refresh_key(endpoint, raw) if endpoint.refresh_token_field else self._execute(endpoint, raw)
            return success_response(endpoint, data)
        except Refusal as refusal:
            return refusal.to_response(self._settings, failure_http)

    def execute_first_half(self, endpoint: Endpoint, bearer: str, raw: RawFields) -> None:
        """Execute the first half of a call of several transfers that a fault will refuse."""
        transfers = raw.get("transfers")
        if isinstance(transfers, list) and len(items := cast("list[object]", transfers)) > 1:
            self.handle(endpoint, bearer, {**raw, "transfers": items[: len(items) // 2]})

    def ledger(self) -> dict[str, LedgerLine]:
        """Return every executed transfer of the deposit accounts and the wallet by track_id."""
        return dict(self.deposits.lines()) | dict(self.wallet.lines())

    def set_balance(self, account: str, amount: int) -> None:
        """Set the balance of a deposit account, or of the wallet by its hashid, to ``amount`` Rial."""
        ledger = self.wallet if account == self._identity.wallet_hashid else self.deposits
        ledger.set_balance(account, amount)

    def decide_transfer(self, track_id: str, *, fails: bool) -> bool:
        """Settle the newest transfer with a track_id; return False if the bank has no such transfer."""
        return self.deposits.decide(track_id, fails=fails) or self.wallet.decide(track_id, fails=fails)

    def _refresh_key(self, endpoint: Endpoint, raw: RawFields) -> object:
        self.authenticator.check_signature(endpoint, raw)
        token_field = endpoint.refresh_token_field or ""
        return self.keys.refresh(endpoint.realm, raw.get(token_field), token_field)

    def _execute(self, endpoint: Endpoint, raw: RawFields) -> object:
        values = structure_request(endpoint, raw, self.wallet.make_track_id)
        unsent = {model_field.name: "" for model_field in fields_of(endpoint.request) if not model_field.sent}
        if unsent:
            unsent = self._check_callback_signature(endpoint, raw, self.payments.find(values["ref_num"]), unsent)
        else:
            self.authenticator.check_signature(endpoint, raw)
        method: Callable[[Any], object] | None = getattr(self, endpoint.id.replace(".", "_"), None)
        call = request_class(endpoint)(**values, **unsent)
        return sample_value(response_type(endpoint.request)) if method is None else method(call)

    def _check_callback_signature(
        self, endpoint: Endpoint, raw: RawFields, payment: Payment, blanks: Mapping[str, str]
    ) -> dict[str, str]:
        """Check a signature over values of the callback, and return these values: they are signed but not sent."""
        if endpoint.safety is Safety.ONCE and not payment.is_paid:
            raise Refusal(NOT_VERIFIABLE)  # its callback had no values to sign
        callback_values = {name: str(getattr(payment, name)) for name in blanks}
        # A client that looks up a payment may not have received the callback, and signs empty values.
        is_lookup = endpoint.safety is Safety.READ
        self.authenticator.check_signature(
            endpoint, raw, (callback_values, blanks) if is_lookup else (callback_values,)
        )
        return callback_values

    # identity

    def identity_match_mobile(self, call: MatchMobile) -> object:
        """Return whether a person has this national id and this mobile number."""
        return self._match(national_id=call.national_id, mobile=call.mobile_number)

    def identity_match_card(self, call: MatchCard) -> object:
        """Return whether a person has this national id, this card and this birth date."""
        return self._match(national_id=call.national_id, card=call.card_number, birth_date=call.birth_date)

    def identity_match_iban(self, call: MatchIban) -> object:
        """Return whether a person has this national id, this IBAN and this birth date."""
        return self._match(national_id=call.national_id, iban=call.iban, birth_date=call.birth_date)

    def _match(self, **attributes: object) -> object:
        return {
            "is_matched": any(
                all(getattr(person, name) == value for name, value in attributes.items()) for person in self.people
            )
        }

    # inquiry

    def inquiry_account_to_iban(self, call: AccountToIban) -> object:
        """Return the IBAN of an account at an existing bank."""
        iban = make_iban(call.bank_id, call.account_number)
        return self._iban_info("bank_id", call.bank_id, call.account_number, iban)

    def inquiry_card_to_iban(self, call: CardToIban) -> object:
        """Return the account of a card: its owner's account, or an invented one at the card's bank."""
        for person in self.people:
            if person.card == call.card:
                return self._iban_info("card", person.bank_id, person.account, person.iban)
        bank = bank_by_card(call.card)
        account = call.card[6:]
        return self._iban_info("card", bank.id if bank else "", account, make_iban(bank.id, account) if bank else "")

    def inquiry_iban(self, call: InquireIban) -> object:
        """Return the bank and the owner of an IBAN."""
        return self._iban_info("iban", call.iban[4:7], account_from_iban(call.iban), call.iban)

    def _iban_info(self, field: str, bank_id: str, account: str, iban: str) -> object:
        bank = bank_by_id(bank_id)
        if bank is None:
            raise Refusal(INVALID_INPUT, fields={field: [f"بانک {field} شناخته نشد"]})
        first_name, last_name = find_owner(iban, self.people)
        return {
            "iban": iban,
            "bank_id": bank.id,
            "bank_name": bank.name_fa,
            "deposit": account,
            "deposit_status": "active",
            "owners": [{"first_name": first_name, "last_name": last_name}],
        }

    # transfers

    def transfers_settle(self, call: Settle) -> object:
        """Execute transfers; return an object for one transfer and a list for several."""
        entries = self.deposits.execute(call.transfers, lambda transfer: transfer.deposit)
        items = [
            _track_id_conflict(transfer) if entry is None else _settlement(entry)
            for transfer, entry in zip(call.transfers, entries, strict=True)
        ]
        return items[0] if len(items) == 1 else items

    def transfers_find(self, call: FindTransfers) -> object:
        """Return the matching transfers, newest first."""
        start = call.skip or 0
        entries = islice(
            self.deposits.newest(call.deposit, call.track_id), start, start + (call.limit or _DEFAULT_LIMIT)
        )
        return [
            {**_settlement(entry), **entry.transfer_fields, "created_at": format_gregorian(entry.executed_at)}
            for entry in entries
        ]

    def transfers_balance(self, call: GetBalance) -> object:
        """Return the balance of a deposit account."""
        balance = self.deposits.balance(call.account_number)
        return {"account_number": call.account_number, "balance": balance, "available_balance": balance}

    def transfers_statement(self, call: GetStatement) -> object:
        """Return the debits and credits between two days, oldest first."""
        rng = random.Random(f"{self._seed}:credits:{call.account_number}")
        entries = [*self.deposits.newest(call.account_number)][::-1]
        lines = [*earlier_credit_lines(rng, self._started_at), *debit_lines(entries)]
        return {"transactions": select_lines(lines, str(call.from_date), str(call.to_date or "9999"))}

    # gateway

    def gateway_create(self, call: CreatePayment) -> object:
        """Create a payment."""
        payment = self.payments.create(call)
        return {
            "token": payment.token,
            "ref_num": payment.ref_num,
            "order_id": call.order_id,
            "payment_amount": payment.payment_amount,
        }

    def gateway_verify(self, call: VerifyPayment) -> object:
        """Verify a payment, once and in time."""
        payment = self.payments.find(call.ref_num)
        price = self.payments.verify(payment, call.amount)
        return {"price": float(price), "ref_num": payment.ref_num, "card_number": payment.card_number}

    def gateway_inquiry(self, call: InquirePayment) -> object:
        """Return the status of a payment."""
        payment = self.payments.find(call.ref_num)
        if call.amount not in (None, payment.request.amount):
            raise Refusal(PARAMETER_MISMATCH)
        return {
            "ref_num": payment.ref_num,
            "status": self.payments.status(payment),
            "payment_date": format_gregorian(payment.payment_time) if payment.is_paid else None,
            "payment_amount": payment.payment_amount,
            "order_id": payment.request.order_id,
            "ref_id": payment.ref_id or None,
            "tracking_code": payment.tracking_code or None,
            "card_number": payment.card_number or None,
            "hashed_card_number": payment.hashed_card_number or None,
        }

    # wallet

    def wallet_settle(self, call: SettleWallet) -> object:
        """Execute transfers; the response does not contain their status."""
        hashid = self._identity.wallet_hashid
        conflicts = [
            index
            for index, transfer in enumerate(call.transfers)
            if (first := self.wallet.first_entry(transfer.track_id)) and first.transfer != transfer
        ]
        if conflicts:
            if self._settings.partial_execution and conflicts[0]:
                self.wallet.execute(call.transfers[: conflicts[0]], lambda _: hashid)
            fields = {f"transfers.{index}.track_id": ["track_id تکراری است"] for index in conflicts}
            raise Refusal(INVALID_INPUT, fields=fields)
        entries = self.wallet.execute(call.transfers, lambda _: hashid)
        return {"created_settlements": [_created_settlement(entry) for entry in entries if entry]}

    def wallet_find(self, call: FindWalletTransfers) -> object:
        """Return the transfers with a track_id, in the form in which it was sent or in which it is stored."""
        stored_form = re.fullmatch(rf"{self._identity.wallet_hashid}\*(.+)\*([0-9]+)", call.track_id)
        track_id, position = (stored_form[1], int(stored_form[2])) if stored_form else (call.track_id, None)
        return [
            {
                **_settlement(entry),
                **entry.transfer_fields,
                "track_id": f"{entry.account}*{track_id}*{entry.position}",
            }
            for entry in self.wallet.newest(track_id=track_id)
            if position in (None, entry.position)
        ]

    def wallet_balance(self, _: GetWalletBalance) -> object:
        """Return the wallet's balance, as text with thousands separators."""
        balance = f"{self.wallet.balance(self._identity.wallet_hashid):,}"
        return {"total_amount": balance, "available_amount": balance}


def _settlement(entry: LedgerEntry[Transfer] | LedgerEntry[WalletTransfer]) -> dict[str, object]:
    return {
        "hashid": entry.hashid,
        "track_id": entry.transfer.track_id,
        "status": entry.status,
        "message": entry.message,
        "ref_code": entry.ref_code,
    }


def _created_settlement(entry: LedgerEntry[WalletTransfer]) -> dict[str, object]:
    # assumed (wallet-fee): the sandbox charges no fee, which the live service adds to the amount.
    return {"id": entry.hashid, "amount_with_wage": entry.transfer.amount, "data": dict(entry.transfer_fields)}


def _track_id_conflict(transfer: Transfer) -> dict[str, object]:
    # assumed (track-id-conflict): the live service's response to a track_id that is sent again with other contents is
    # not known.
    message = "track_id قبلا برای انتقال دیگری استفاده شده است"
    return {"hashid": None, "track_id": transfer.track_id, "status": "failed", "message": message, "ref_code": None}
