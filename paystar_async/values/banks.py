"""Iranian banks: ids, names and card number prefixes."""

from typing import Annotated

from attrs import frozen

from paystar_async.values.digits import compact, parse_digits
from paystar_async.values.field_type import FieldType
from paystar_async.values.masking import mask_text
from paystar_async.values.text import text_repr


@frozen
class Bank:
    """An Iranian bank.

    Attributes:
        id: the bank's three-digit id, positions 5 to 7 of its IBANs.
        name: the English name.
        name_fa: the Persian name.
        card_bins: the six-digit prefixes of the bank's card numbers.
    """

    id: str
    name: str
    name_fa: str
    card_bins: tuple[str, ...]


BANKS: tuple[Bank, ...] = (
    Bank("010", "Central Bank of Iran", "بانک مرکزی جمهوری اسلامی ایران", ("636795", "636797")),
    Bank("011", "Bank of Industry and Mine", "بانک صنعت و معدن", ("627961",)),
    Bank("012", "Bank Mellat", "بانک ملت", ("610433", "991975")),
    Bank("013", "Refah Kargaran Bank", "بانک رفاه کارگران", ("589463",)),
    Bank("014", "Bank Maskan", "بانک مسکن", ("628023",)),
    Bank("015", "Bank Sepah", "بانک سپه", ("589210",)),
    Bank("016", "Bank Keshavarzi (Agriculture Bank)", "بانک کشاورزی", ("603770", "639217")),
    Bank("017", "Bank Melli Iran", "بانک ملی ایران", ("603799", "170019")),
    Bank("018", "Tejarat Bank", "بانک تجارت", ("627353", "585983")),
    Bank("019", "Bank Saderat Iran", "بانک صادرات ایران", ("603769", "903769")),
    Bank("020", "Export Development Bank of Iran", "بانک توسعه صادرات ایران", ("627648", "207177")),
    Bank("021", "Post Bank of Iran", "پست بانک ایران", ("627760",)),
    Bank("022", "Tosee Taavon Bank", "بانک توسعه تعاون", ("502908",)),
    Bank("051", "Tosee Credit Institution", "موسسه اعتباری توسعه", ("628157",)),
    Bank("052", "Ghavamin Bank (merged into Sepah)", "بانک قوامین", ("639599",)),
    Bank("053", "Karafarin Bank", "بانک کارآفرین", ("627488", "502910")),
    Bank("054", "Parsian Bank", "بانک پارسیان", ("622106", "627884", "639194")),
    Bank("055", "Eghtesad Novin Bank", "بانک اقتصاد نوین", ("627412",)),
    Bank("056", "Saman Bank", "بانک سامان", ("621986",)),
    Bank("057", "Bank Pasargad", "بانک پاسارگاد", ("502229", "639347")),
    Bank("058", "Sarmayeh Bank", "بانک سرمایه", ("639607",)),
    Bank("059", "Sina Bank", "بانک سینا", ("639346",)),
    Bank("060", "Gharzolhasaneh Mehr Iran Bank", "بانک قرض‌الحسنه مهر ایران", ("606373",)),
    Bank("061", "Shahr Bank", "بانک شهر", ("502806", "504706")),
    Bank("062", "Ayandeh Bank (merged into Melli)", "بانک آینده", ("636214",)),
    Bank("063", "Ansar Bank (merged into Sepah)", "بانک انصار", ("627381",)),
    Bank("064", "Tourism Bank (Gardeshgari)", "بانک گردشگری", ("505416", "505426")),
    Bank("065", "Hekmat Iranian Bank (merged into Sepah)", "بانک حکمت ایرانیان", ("636949",)),
    Bank("066", "Day Bank", "بانک دی", ("502938",)),
    Bank("069", "Iran Zamin Bank", "بانک ایران زمین", ("505785",)),
    Bank("070", "Gharzolhasaneh Resalat Bank", "بانک قرض‌الحسنه رسالت", ("504172",)),
    Bank("073", "Kosar Credit Institution (merged into Sepah)", "موسسه اعتباری کوثر", ("505801",)),
    Bank("075", "Melal Credit Institution", "موسسه اعتباری ملل", ("606256",)),
    Bank("078", "Middle East Bank", "بانک خاورمیانه", ("585947", "505809")),
    Bank("079", "Mehr Eghtesad Bank (merged into Sepah)", "بانک مهر اقتصاد", ("639370",)),
    Bank("080", "Noor Credit Institution", "موسسه اعتباری نور", ("507677",)),
    Bank("090", "Gharzolhasaneh Mehr Iran Bank (second code)", "بانک قرض‌الحسنه مهر ایران", ()),
    Bank("095", "Iran-Venezuela Bi-National Bank", "بانک ایران و ونزوئلا", ("581874",)),
)
"""All known banks, sorted by id."""


_BY_ID = {bank.id: bank for bank in BANKS}
_BY_BIN = {digits: bank for bank in BANKS for digits in bank.card_bins}


def bank_by_id(bank_id: str) -> Bank | None:
    """Return the bank with a three-digit id, or None."""
    return _BY_ID.get(compact(bank_id))


def bank_by_card(card: str) -> Bank | None:
    """Return the bank that issued a card, or None; the first six digits are enough, so masked numbers work too."""
    return _BY_BIN.get(compact(card)[:6])


def _mask(value: object) -> str:
    # Account number and bank id are passed side by side and are easily swapped.
    return mask_text(text_repr(value))


BankId = Annotated[
    str,
    FieldType(
        name="bank id",
        expected="3 digits",
        parse=lambda value: parse_digits(value, 3, "keep the leading zero: 017 is Bank Melli Iran"),
        is_valid=_BY_ID.__contains__,
        checksum="the id of a bank in paystar_async.values.banks",
        mask=_mask,
        schema={"type": "string", "pattern": "^[0-9]{3}$"},
        example="017",
    ),
]
"""The three-digit id of a bank."""
