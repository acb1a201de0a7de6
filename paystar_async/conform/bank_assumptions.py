"""Assumptions about envelopes, keys, bank transfers and inquiries."""

from collections.abc import Sequence

from paystar_async.conform import judges
from paystar_async.conform.assumption import Assumption
from paystar_async.conform.judges import any_of, by_fact, data_form, data_has, data_lacks

_IBAN_INFO = ("iban", "bank_id", "bank_name", "deposit", "deposit_status", "owners")
_ANY_REFRESH = "a key refresh"

BANK_ASSUMPTIONS: Sequence[Assumption] = (
    # the envelope
    Assumption(
        "success-status",
        "R+3",
        'A success has status "ok" in bank transfers, balance and statement, and 1 everywhere else.',
        "sandbox/responses.py",
        "any success",
        "nothing: both are read everywhere; the sandbox follows",
        judges.success_status,
    ),
    Assumption(
        "refusal-http",
        "4",
        "A refusal comes with HTTP 400 or 200, a refused key also with 401.",
        "transport/decoder.py: the envelope is read whatever the HTTP status is",
        "any refusal",
        "an HTTP status of 408, 429, 3xx or 5xx makes the refusal of a payment one that may have been executed",
        judges.refusal_http,
    ),
    Assumption(
        "unauthenticated-http",
        "assumed",
        "The refusal of a gateway id (unauthenticated) comes with HTTP 401.",
        "sandbox/responses.py",
        "gateway.inquiry with a wrong gateway id",
        "nothing: the word decides; the sandbox follows",
        judges.unauthenticated_http,
    ),
    Assumption(
        "invalid-access-status",
        "assumed",
        "The message دسترسی نامعتبر of a refused key stands beside status 0, 4, 5, 10 or none.",
        "transport/decoder.py, sandbox/authentication.py",
        "any call with a wrong key",
        "the key would not be refreshed after such a refusal: the status goes into the decoder's list",
        judges.invalid_access_status,
    ),
    Assumption(
        "unknown-status",
        "assumed",
        "Every status of a refusal is one that the reference or an integration lists.",
        "errors/statuses.py: an unlisted status raises StatusError; in a settlement it may have been executed",
        "any refusal",
        "the status gets a class, so that callers can act on it",
        judges.listed_status,
    ),
    # keys
    Assumption(
        "key-refused-first",
        "assumed",
        "A call whose key is refused (4, 5, unauthenticated, HTTP 401) was not executed.",
        "middleware/auth.py sends such a call again with a new key; payouts/classify.py",
        "transfers.find or wallet.find of a transfer whose last settle call was refused for its key",
        "a settlement must be looked up before it is sent again with a new key",
        by_fact("after key refusal", {"absent"}, {"found"}),
    ),
    Assumption(
        "key-expiry",
        "1",
        "The expiry of a key is YYYY-MM-DD HH:MM:SS, or Unix time in seconds or milliseconds.",
        "middleware/auth.py: an unreadable expiry counts as 24 hours",
        _ANY_REFRESH,
        "another form is read there; until then keys are refreshed when they are refused",
        by_fact("expiry", {"tehran", "utc", "unix"}, {"other text", "other number", "absent"}),
    ),
    Assumption(
        "date-zone",
        "1",
        "Dates are in Tehran time, +03:30.",
        "values/dates.py: the expiry of keys",
        "a key refresh; transfers.find of a new transfer; gateway.inquiry of a new payment",
        "the offset in values/dates.py changes; until then a key is refreshed too early or when it is refused",
        any_of(by_fact("zone", {"tehran"}, {"utc"}), by_fact("expiry", {"tehran"}, {"utc"})),
    ),
    Assumption(
        "refresh-rotation",
        "3",
        "A refresh returns no new refresh token.",
        "keys/: a new one is stored before the key is used",
        _ANY_REFRESH,
        "nothing for keys that are shared through a key store; keys in memory are lost with the process",
        data_lacks("refresh_token", "refresh_inquiry_key", endpoints="keys."),
    ),
    Assumption(
        "inquiry-refresh-fields",
        "assumed",
        "The refresh of the inquiry key returns inquiry_key and inquiry_key_expire_date.",
        "middleware/auth.py",
        "keys.refresh_inquiry_key",
        "the names change there; until then the wallet cannot be read once its inquiry key has expired",
        data_has("keys.refresh_inquiry_key", "inquiry_key", "inquiry_key_expire_date"),
    ),
    # bank transfers
    Assumption(
        "refusal-before-execution",
        "assumed",
        "A refused settlement executed none of its transfers.",
        "transport/decoder.py, payouts/classify.py: relied on for a call of one transfer, not for several",
        "transfers.find or wallet.find of a transfer of a refused call",
        "a refused call of one must be looked up too",
        by_fact("after refusal", {"absent"}, {"found"}),
    ),
    Assumption(
        "batch-response",
        "assumed",
        "The data of an accepted settlement is one object for one transfer and a list for several.",
        "transport/structuring.py",
        "transfers.settle",
        "nothing: an object, a list, numbered entries and a wrapper are read for any number of transfers",
        judges.batch_shape,
    ),
    Assumption(
        "repeated-track-id",
        "assumed",
        "A repeated track_id with the same fields returns the first result and does not pay again.",
        "sandbox/ledger.py; this package looks a transfer up before it repeats one",
        "transfers.settle with a track_id of this process; a look-up that lists it twice",
        "nothing: no repetition is sent without a look-up",
        by_fact("repeated track_id", {"first result"}, {"another result", "paid again"}),
    ),
    Assumption(
        "track-id-conflict",
        "assumed",
        "A repeated track_id with other fields fails.",
        "sandbox/bank.py",
        "transfers.settle with a track_id of this process and another amount",
        "nothing: the ledger refuses such a transfer before it is sent",
        by_fact("changed transfer", {"failed"}, {"not failed"}),
    ),
    Assumption(
        "list-order",
        "assumed",
        "transfers.find returns the newest transfers first.",
        "payouts/recovery.py, transfers.py: one list serves all transfers that are waited for",
        "transfers.find with two transfers of different times",
        "a transfer beyond the list's limit is looked up by its track_id; the shared list saves no calls then",
        by_fact("order", {"newest first"}, {"oldest first", "no order"}),
    ),
    Assumption(
        "list-paging",
        "R",
        "transfers.find returns at most limit transfers and leaves skip of them out.",
        "listing.py: transfers.iterate",
        "transfers.find with limit and skip",
        "transfers.iterate ends after the first page, or reads it again",
        any_of(by_fact("limit", {"kept"}, {"exceeded"}), by_fact("skip", {"kept"}, {"ignored"})),
    ),
    Assumption(
        "list-shape",
        "R",
        "The data of transfers.find and wallet.find is a list, without a wrapper.",
        "transport/structuring.py",
        "transfers.find, wallet.find",
        "nothing: numbered entries and wrappers are read",
        judges.list_shape,
    ),
    Assumption(
        "track-id-form",
        "1",
        "A look-up names a transfer's track_id as it was sent, or as wallet*track_id*number.",
        "payouts/channels.py: a transfer is recognised by it",
        "transfers.find and wallet.find by track_id",
        "a transfer is not recognised, stays unknown and needs manual review; nothing is sent again",
        by_fact("track_id", {"as sent", "stored form"}, {"other"}),
    ),
    Assumption(
        "transfer-status-words",
        "R+1",
        "A transfer is success, failed or pending.",
        "models/transfers.py: any other word counts as unknown",
        "transfers.settle, transfers.find, wallet.find",
        "the word gets a meaning; until then such a transfer stays unknown and needs manual review",
        judges.status_words(("transfers.settle", "transfers.find", "wallet.find")),
    ),
    Assumption(
        "balance-fields",
        "assumed",
        "A balance has account_number, balance and available_balance.",
        "models/transfers.py",
        "transfers.balance",
        "the model follows; until then transfers.balance raises InvalidResponse",
        data_has("transfers.balance", "account_number", "balance", "available_balance"),
    ),
    Assumption(
        "statement-lines",
        "1",
        "A statement's transactions have transaction_date_time as YY-MM-DD HH:MM:SS and additional as an object.",
        "models/transfers.py",
        "transfers.statement",
        "nothing: a field of another form is in extra",
        any_of(
            data_form("transfers.statement", ("transactions", "additional"), {"object", "null"}),
            data_form("transfers.statement", ("transactions", "transaction_date_time"), {"short_time", "null"}),
        ),
    ),
    # identity and inquiries
    Assumption(
        "is-matched",
        "R+1",
        "An identity check returns is_matched as true or false.",
        "models/identity.py",
        "identity.match_mobile, match_card, match_iban",
        "the check raises InvalidResponse until the form is read",
        any_of(
            *(data_form(f"identity.match_{name}", ("is_matched",), {"bool"}) for name in ("mobile", "card", "iban"))
        ),
    ),
    Assumption(
        "birth-date",
        "assumed",
        "Days are sent in the Gregorian calendar.",
        "values/dates.py",
        "identity.match_card and match_iban with a person's own data",
        "days are converted there before they are sent",
        any_of(
            by_fact("birth date", {"matched"}, set()),
            judges.refusal_names(("identity.match_card", "identity.match_iban"), "birth_date"),
        ),
    ),
    *(
        Assumption(
            f"{name.replace('_', '-')}-fields",
            "assumed",
            f"The data of inquiry.{name} has {', '.join(_IBAN_INFO)}.",
            "models/inquiry.py",
            f"inquiry.{name}",
            "the model follows; until then the field reads as None, and its value is in extra",
            data_has(f"inquiry.{name}", *_IBAN_INFO),
        )
        for name in ("account_to_iban", "card_to_iban", "iban")
    ),
)
