"""What stands behind the endpoints: one method per row of the table, named after it."""

import random
import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, cast

from paystar_async.clock import Clock
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.models.base import answer_type, fields_of
from paystar_async.models.gateway import CreatePayment, InquirePayment, VerifyPayment
from paystar_async.models.identity import MatchCard, MatchIban, MatchMobile
from paystar_async.models.inquiry import AccountToIban, CardToIban, InquireIban
from paystar_async.models.transfers import FindTransfers, GetBalance, GetStatement, Settle, Transfer
from paystar_async.models.wallet import FindWalletTransfers, GetWalletBalance, SettleWallet, WalletTransfer
from paystar_async.sandbox.authentication import INVALID_INPUT, Authenticator, Keys, Raw, make_identity
from paystar_async.sandbox.clock import gregorian_text
from paystar_async.sandbox.ledger import Entry, Line, TransferLedger, debits, earlier_credits, statement
from paystar_async.sandbox.payments import MISMATCH, NOT_VERIFIABLE, Payment, Payments
from paystar_async.sandbox.requests import request_class, structure
from paystar_async.sandbox.responses import Refusal, Reply, success
from paystar_async.sandbox.settings import Settings
from paystar_async.sandbox.test_data import Person, account_of_iban, make_iban, make_people, owner_of, sample
from paystar_async.values.banks import bank_by_card, bank_by_id

_LIST_LENGTH = 20


class Bank:
    """Everything the sandbox remembers, and every call that can be made of it.

    Args:
        seed: what names, keys and people are made from.
        clock: what keys expire and transfers settle by.
        key_life: seconds a key is good for.
        settings: how it behaves.
    """

    def __init__(self, *, seed: int, clock: Clock, key_life: float, settings: Settings) -> None:
        self._seed, self._clock, self._settings = seed, clock, settings
        self._opened_at = clock.time()
        self._identity = make_identity(seed)

        def dice(name: str) -> random.Random:
            return random.Random(f"{seed}:{name}")

        # Whoever starts over has stored the names of before: a clock that runs makes new ones.
        run = f"{clock.time()}"

        self.people: tuple[Person, ...] = make_people(seed)
        self.keys = Keys(clock, settings, dice("keys"), key_life)
        self.gatekeeper = Authenticator(self._identity, self.keys, settings)
        self.deposits = TransferLedger[Transfer](
            clock, settings, dice(f"deposits:{run}"), lambda now: now.deposit_opening
        )
        self.wallet = TransferLedger[WalletTransfer](
            clock, settings, dice(f"wallet:{run}"), lambda now: now.wallet_opening
        )
        self.payments = Payments(clock, settings, dice(f"payments:{run}"), self.people)

    def answer(self, row: Endpoint, bearer: str, raw: Raw, failure_http: int | None = None) -> Reply:
        """Carry out a call and answer it, refusals included.

        Args:
            row: the call.
            bearer: the key that was shown.
            raw: the fields as they arrived.
            failure_http: the HTTP status of a refusal; the setting by default.
        """
        try:
            self.gatekeeper.admit(row, bearer, raw)
            return success(row, self._renew(row, raw) if row.renews else self._carry_out(row, raw))
        except Refusal as refusal:
            return refusal.reply(self._settings, failure_http)

    def execute_part(self, row: Endpoint, bearer: str, raw: Raw) -> None:
        """Carry out the first half of a call of several transfers, which is about to be refused."""
        transfers = raw.get("transfers")
        if isinstance(transfers, list) and len(items := cast("list[object]", transfers)) > 1:
            self.answer(row, bearer, {**raw, "transfers": items[: len(items) // 2]})

    def ledger(self) -> dict[str, Line]:
        """Every executed transfer by track_id, of deposit accounts and of the wallet."""
        return dict(self.deposits.ledger()) | dict(self.wallet.ledger())

    def set_balance(self, account: str, amount: int) -> None:
        """Put so many Rial into a deposit account, or into the wallet by its hashid."""
        (self.wallet if account == self._identity.wallet_hashid else self.deposits).set_balance(account, amount)

    def _renew(self, row: Endpoint, raw: Raw) -> object:
        self.gatekeeper.check_signature(row, raw)
        return self.keys.renew(row.realm, raw.get(row.renews or ""), row.renews or "")

    def _carry_out(self, row: Endpoint, raw: Raw) -> object:
        values = structure(row, raw, self.wallet.make_track_id)
        unsent = {one.name: "" for one in fields_of(row.request) if not one.sent}
        if unsent:
            unsent = self._check_callback_signature(row, raw, self.payments.find(values["ref_num"]), unsent)
        else:
            self.gatekeeper.check_signature(row, raw)
        method: Callable[[Any], object] | None = getattr(self, row.id.replace(".", "_"), None)
        call = request_class(row)(**values, **unsent)
        return sample(answer_type(row.request)) if method is None else method(call)

    def _check_callback_signature(
        self, row: Endpoint, raw: Raw, payment: Payment, blank: Mapping[str, str]
    ) -> dict[str, str]:
        """Check a signature over what the callback brought; gives those values, which are signed and not sent."""
        if row.safety is Safety.ONCE and not payment.paid:
            raise Refusal(NOT_VERIFIABLE)  # it brought nothing that could have been signed
        brought = {name: str(getattr(payment, name)) for name in blank}
        # Whoever only asks may not have seen the callback, and signs blanks.
        self.gatekeeper.check_signature(row, raw, (brought, blank) if row.safety is Safety.READ else (brought,))
        return brought

    # identity

    def identity_match_mobile(self, call: MatchMobile) -> object:
        """Whether somebody has this national id and this mobile number."""
        return self._match(national_id=call.national_id, mobile=call.mobile_number)

    def identity_match_card(self, call: MatchCard) -> object:
        """Whether somebody has this national id, this card and this birth date."""
        return self._match(national_id=call.national_id, card=call.card_number, birth_date=call.birth_date)

    def identity_match_iban(self, call: MatchIban) -> object:
        """Whether somebody has this national id, this IBAN and this birth date."""
        return self._match(national_id=call.national_id, iban=call.iban, birth_date=call.birth_date)

    def _match(self, **wanted: object) -> object:
        return {
            "is_matched": any(
                all(getattr(person, name) == value for name, value in wanted.items()) for person in self.people
            )
        }

    # inquiry

    def inquiry_account_to_iban(self, call: AccountToIban) -> object:
        """The IBAN of an account at a bank that exists."""
        return self._account("bank_id", call.bank_id, call.account_number, make_iban(call.bank_id, call.account_number))

    def inquiry_card_to_iban(self, call: CardToIban) -> object:
        """The account behind a card: its owner's, or one made up for its bank."""
        for person in self.people:
            if person.card == call.card:
                return self._account("card", person.bank_id, person.account, person.iban)
        bank = bank_by_card(call.card)
        account = call.card[6:]
        return self._account("card", bank.id if bank else "", account, make_iban(bank.id, account) if bank else "")

    def inquiry_iban(self, call: InquireIban) -> object:
        """The bank and the owner of an IBAN."""
        return self._account("iban", call.iban[4:7], account_of_iban(call.iban), call.iban)

    def _account(self, field: str, bank_id: str, account: str, iban: str) -> object:
        bank = bank_by_id(bank_id)
        if bank is None:
            raise Refusal(INVALID_INPUT, fields={field: [f"بانک {field} شناخته نشد"]})
        first_name, last_name = owner_of(iban, self.people)
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
        """Take the money and start the transfers; one answers with an object, several with a list."""
        entries = self.deposits.enter(call.transfers, lambda transfer: transfer.deposit)
        items = [
            _conflict(asked) if entry is None else _transfer(entry)
            for asked, entry in zip(call.transfers, entries, strict=True)
        ]
        return items[0] if len(items) == 1 else items

    def transfers_find(self, call: FindTransfers) -> object:
        """The transfers that fit, newest first."""
        start = call.skip or 0
        found = islice(self.deposits.newest(call.deposit, call.track_id), start, start + (call.limit or _LIST_LENGTH))
        return [{**_transfer(entry), **entry.sent, "created_at": gregorian_text(entry.at)} for entry in found]

    def transfers_balance(self, call: GetBalance) -> object:
        """What is left in a deposit account."""
        left = self.deposits.balance(call.account_number)
        return {"account_number": call.account_number, "balance": left, "available_balance": left}

    def transfers_statement(self, call: GetStatement) -> object:
        """What went out and came in between two days, oldest first."""
        dice = random.Random(f"{self._seed}:credits:{call.account_number}")
        lines = [*earlier_credits(dice, self._opened_at), *debits([*self.deposits.newest(call.account_number)][::-1])]
        return {"transactions": statement(lines, str(call.from_date), str(call.to_date or "9999"))}

    # gateway

    def gateway_create(self, call: CreatePayment) -> object:
        """Open a payment."""
        payment = self.payments.create(call)
        return {
            "token": payment.token,
            "ref_num": payment.ref_num,
            "order_id": call.order_id,
            "payment_amount": payment.payment_amount,
        }

    def gateway_verify(self, call: VerifyPayment) -> object:
        """Confirm a payment, once and in time."""
        payment = self.payments.find(call.ref_num)
        price = self.payments.verify(payment, call.amount)
        return {"price": float(price), "ref_num": payment.ref_num, "card_number": payment.card_number}

    def gateway_inquiry(self, call: InquirePayment) -> object:
        """Where a payment stands."""
        payment = self.payments.find(call.ref_num)
        if call.amount not in (None, payment.asked.amount):
            raise Refusal(MISMATCH)
        return {
            "ref_num": payment.ref_num,
            "status": self.payments.status(payment),
            "payment_date": gregorian_text(payment.payment_time) if payment.paid else None,
            "payment_amount": payment.payment_amount,
            "order_id": payment.asked.order_id,
            "ref_id": payment.ref_id or None,
            "tracking_code": payment.tracking_code or None,
            "card_number": payment.card_number or None,
            "hashed_card_number": payment.hashed_card_number or None,
        }

    # wallet

    def wallet_settle(self, call: SettleWallet) -> object:
        """Take the money and start the transfers; says nothing of what becomes of them."""
        wallet = self._identity.wallet_hashid
        taken = [
            index
            for index, transfer in enumerate(call.transfers)
            if (first := self.wallet.first(transfer.track_id)) and first.asked != transfer
        ]
        if taken:
            if self._settings.partial_execution and taken[0]:
                self.wallet.enter(call.transfers[: taken[0]], lambda _: wallet)
            fields = {f"transfers.{index}.track_id": ["track_id تکراری است"] for index in taken}
            raise Refusal(INVALID_INPUT, fields=fields)
        entries = self.wallet.enter(call.transfers, lambda _: wallet)
        return {"created_settlements": [_created(entry) for entry in entries if entry]}

    def wallet_find(self, call: FindWalletTransfers) -> object:
        """The transfers of a track_id, in the form it was sent in or the one it is stored in."""
        stored = re.fullmatch(rf"{self._identity.wallet_hashid}\*(.+)\*([0-9]+)", call.track_id)
        track_id, number = (stored[1], int(stored[2])) if stored else (call.track_id, None)
        return [
            {**_transfer(entry), **entry.sent, "track_id": f"{entry.account}*{track_id}*{entry.number}"}
            for entry in self.wallet.newest(track_id=track_id)
            if number in (None, entry.number)
        ]

    def wallet_balance(self, _: GetWalletBalance) -> object:
        """What is left in the wallet, as texts with thousands commas."""
        left = f"{self.wallet.balance(self._identity.wallet_hashid):,}"
        return {"total_amount": left, "available_amount": left}


def _transfer(entry: Entry[Transfer] | Entry[WalletTransfer]) -> dict[str, object]:
    return {
        "hashid": entry.hashid,
        "track_id": entry.asked.track_id,
        "status": entry.status,
        "message": entry.message,
        "ref_code": entry.ref_code,
    }


def _created(entry: Entry[WalletTransfer]) -> dict[str, object]:
    # assumed: the sandbox takes no fee, which the live service puts on top.
    return {"id": entry.hashid, "amount_with_wage": entry.asked.amount, "data": dict(entry.sent)}


def _conflict(asked: Transfer) -> dict[str, object]:
    # assumed: what the live service says of a track_id that comes back with other contents is not known.
    message = "track_id قبلا برای انتقال دیگری استفاده شده است"
    return {"hashid": None, "track_id": asked.track_id, "status": "failed", "message": message, "ref_code": None}
