"""Test classification: the verdict of every status, error and response."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async import errors
from paystar_async.errors import BY_STATUS, Executed, PaystarError, StatusError, http_may_have_executed
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.models.wallet import Accepted
from paystar_async.payouts.classify import REFUSALS, AnyTransfer, Verdict, classify
from tests.payouts.bank import DEPOSIT, IBAN, transfer, transfers, wallet_transfer


def same(stored: str) -> str:
    return stored


def verdict(result: object, *values: AnyTransfer) -> Verdict:
    verdicts = {classification.verdict for classification in classify(result, values or [transfer()], same).values()}
    assert len(verdicts) == 1
    return verdicts.pop()


def entry(track_id: str | None = "t-00000", status: str = "success", **more: Any) -> Settlement:
    return Settlement(track_id=track_id, status=TransferStatus(status), **more)


CODES = {
    0: Verdict.AMBIGUOUS,
    2: Verdict.SUSPENDED,
    3: Verdict.SUSPENDED,
    4: Verdict.AUTH,
    5: Verdict.AUTH,
    6: Verdict.SUSPENDED,
    7: Verdict.SUSPENDED,
    8: Verdict.SUSPENDED,
    9: Verdict.FUNDS,
    10: Verdict.REJECTED,
    11: Verdict.AMBIGUOUS,
    12: Verdict.SUSPENDED,
    13: Verdict.AUTH,
}


@pytest.mark.parametrize("code", BY_STATUS)
def test_classify_status_code_verdict(code: int | str) -> None:
    # Statuses of the gateway belong to another service and have no meaning here.
    error = BY_STATUS[code](code, "no")
    assert verdict(error) is CODES.get(code if isinstance(code, int) else -1, Verdict.AMBIGUOUS)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.NotSent("no connection"), Verdict.NOT_SENT),
        (errors.StorageUnavailable("the keys are down"), Verdict.NOT_SENT),
        (errors.ConfigurationError("no account"), Verdict.SUSPENDED),
        (errors.ConfigurationError("a user middleware lost the response", executed="maybe"), Verdict.AMBIGUOUS),
        (errors.InvalidValue("amount", expected="more", got="0"), Verdict.REJECTED),
        (errors.NoResponse("nothing came"), Verdict.AMBIGUOUS),
        (errors.InvalidResponse("$", "HTML", http_status=200), Verdict.AMBIGUOUS),
        (errors.InsufficientBalance(9, "no", http_status=502, executed="maybe"), Verdict.AMBIGUOUS),
        (errors.InvalidInput(10, "no", http_status=500, executed="maybe"), Verdict.AMBIGUOUS),
        (StatusError("held", "an unknown status"), Verdict.AMBIGUOUS),
        (StatusError(99, "an unknown code", executed="no"), Verdict.AMBIGUOUS),
        (PaystarError("raised by a user middleware"), Verdict.AMBIGUOUS),
        (RuntimeError("a bug in a user middleware"), Verdict.AMBIGUOUS),
        (asyncio.CancelledError(), Verdict.AMBIGUOUS),
        (KeyboardInterrupt(), Verdict.AMBIGUOUS),
        (TimeoutError(), Verdict.AMBIGUOUS),
    ],
    ids=repr,
)
def test_classify_error_verdict(error: BaseException, expected: Verdict) -> None:
    assert verdict(error, *transfers(3)) is expected


@pytest.mark.parametrize("kind", [errors.StorageError, *errors.StorageError.__subclasses__()])
def test_classify_storage_error_is_not_sent(kind: type[errors.StorageError]) -> None:
    assert verdict(kind("the keys are down")) is Verdict.NOT_SENT


@pytest.mark.parametrize("code", [0, 11])
def test_classify_unclear_call_of_several_is_proven(code: int) -> None:
    """Only a refusal is looked up as one; whatever is unclear is unknown."""
    error = BY_STATUS[code](code, "no", executed="no")
    assert {classification.proven for classification in classify(error, transfers(2), same).values()} == {True}


@pytest.mark.parametrize("result", [None, "ok", {}, {"status": "success"}, [None], ["t-00000"], [entry(), "x"], 7])
def test_classify_unknown_shape_is_ambiguous(result: object) -> None:
    assert verdict(result) is Verdict.AMBIGUOUS


@pytest.mark.parametrize("status", ["success", "failed", "pending"])
def test_classify_entry_is_reported(status: str) -> None:
    classification = classify([entry(status=status, message="6037990000000006 closed")], [transfer()], same)["t-00000"]
    assert classification.verdict is Verdict.REPORTED
    assert classification.settlement is not None
    assert classification.settlement.status == status
    assert classification.reason == "603799******0006 closed"


def test_classify_unknown_status_is_ambiguous() -> None:
    assert verdict([entry(status="queued")]) is Verdict.AMBIGUOUS


def test_classify_matches_entries_by_track_id() -> None:
    classifications = classify([entry("t-00002"), entry("t-00000", "failed"), entry("other")], transfers(3), same)
    assert [classifications[f"t-0000{number}"].verdict for number in range(3)] == [
        Verdict.REPORTED,
        Verdict.AMBIGUOUS,
        Verdict.REPORTED,
    ]
    assert classifications["t-00000"].settlement == entry("t-00000", "failed")


@pytest.mark.parametrize("track_id", [None, "", "t-00009"])
def test_classify_entry_without_sent_track_id_is_ambiguous(track_id: str | None) -> None:
    assert verdict([entry(track_id)]) is Verdict.AMBIGUOUS
    assert verdict([entry(track_id, hashid="h9")]) is Verdict.AMBIGUOUS


def test_classify_entry_with_recorded_hashid_is_reported() -> None:
    classifications = classify(
        [entry(None, hashid="h1"), entry(None, hashid="")], transfers(2), same, {"h1": "t-00001"}
    )
    assert [classification.verdict for classification in classifications.values()] == [
        Verdict.AMBIGUOUS,
        Verdict.REPORTED,
    ]


def test_classify_shared_hashid_matches_by_track_id() -> None:
    for hashid in ("same", ""):
        entries = [entry("t-00000", hashid=hashid), entry("t-00001", "failed", hashid=hashid)]
        classifications = classify(entries, transfers(2), same, {hashid: "t-00000"})
        assert [classification.settlement for classification in classifications.values()] == entries


@pytest.mark.parametrize("code", [2, 3, 6, 7, 8, 9, 10, 12])
def test_classify_refused_call_of_several_is_not_proven(code: int) -> None:
    error = BY_STATUS[code](code, "no")
    assert not any(classification.proven for classification in classify(error, transfers(2), same).values())
    assert all(classification.proven for classification in classify(error, transfers(1), same).values())


@pytest.mark.parametrize("code", [4, 5, 13])
def test_classify_refused_key_without_fields_is_proven(code: int) -> None:
    assert classify(BY_STATUS[code](code, "no"), transfers(2), same)["t-00000"].proven
    assert not classify(BY_STATUS[code](code, "no", fields={"x": ["no"]}), transfers(2), same)["t-00000"].proven


def test_classify_success_of_other_hashid_outlasts_failures() -> None:
    """A bank that refuses repeats lists what it paid and what it refused."""
    assert verdict([entry(status="failed", hashid="b"), entry(hashid="a")]) is Verdict.REPORTED
    assert verdict([entry(status="failed", hashid="a"), entry(hashid="a")]) is Verdict.CONTRADICTION
    for missing in (None, ""):
        assert verdict([entry(status="failed", hashid=missing), entry(hashid="a")]) is Verdict.CONTRADICTION
        assert verdict([entry(status="failed", hashid="a"), entry(hashid=missing)]) is Verdict.CONTRADICTION
    assert verdict([entry(status="failed", hashid="a"), entry(status="failed", hashid="b")]) is Verdict.REPORTED


@pytest.mark.parametrize(
    "entries",
    [
        [entry(), entry(status="failed")],
        [entry(status="pending"), entry()],
        [entry(hashid="a"), entry(hashid="b")],
        [entry(ref_code="1"), entry(ref_code="2")],
        [entry(extra={"amount": 10_001})],
        [entry(extra={"amount": "10,001"})],
        [entry(extra={"amount": 1_000.0})],
        [entry(extra={"destination_account": IBAN[:-1] + "9"})],
        [entry(extra={"deposit": "0119999999999"})],
        [entry(status="failed", extra={"amount": 1})],
    ],
    ids=lambda entries: str([(entry.status, entry.hashid, entry.extra) for entry in entries]),
)
def test_classify_contradicting_entries_are_contradiction(entries: list[Settlement]) -> None:
    assert verdict(entries) is Verdict.CONTRADICTION


@pytest.mark.parametrize(
    "extra",
    [
        {"amount": 10_000, "deposit": DEPOSIT, "destination_account": IBAN},
        {"amount": "10,000", "destination_account": IBAN.lower()},
        {"amount": 10_000.0, "deposit": DEPOSIT[1:]},
        {"amount": "much", "destination_account": "IR11******9001", "deposit": None},
        {"deposit": "0111******890"},
        {"amount": None, "destination_account": "0112223334445"},
    ],
)
def test_classify_matching_extra_is_reported(extra: dict[str, object]) -> None:
    assert verdict([entry(extra=extra)]) is Verdict.REPORTED
    assert verdict([entry(extra=extra), entry(extra=extra)]) is Verdict.REPORTED


@pytest.mark.parametrize("unknown", [None, ""])
def test_classify_entry_without_hashid_is_no_second(unknown: str | None) -> None:
    assert verdict([entry(hashid=unknown), entry(hashid="a")]) is Verdict.REPORTED
    assert verdict([entry(ref_code=unknown), entry(ref_code="1")]) is Verdict.REPORTED


def test_classify_rejected_track_id_is_contradiction() -> None:
    """Another sender may have used the track_id, and that transfer may have been paid."""
    assert verdict(errors.InvalidInput(10, "no", fields={"transfers.0.track_id": ["used"]})) is Verdict.CONTRADICTION
    assert verdict(errors.InvalidInput(10, "no", fields={"transfers.0.amount": ["small"]})) is Verdict.REJECTED


def test_classify_wallet_accepted_is_pending() -> None:
    values = [wallet_transfer(number) for number in range(2)]
    for track_id, classification in classify(Accepted(), values, same).items():
        assert classification.verdict is Verdict.REPORTED
        assert classification.settlement == Settlement(track_id=track_id, status=TransferStatus.PENDING)
    assert verdict(Accepted(), transfer()) is Verdict.AMBIGUOUS


def test_classify_wallet_destination_is_compared() -> None:
    wrong = entry("w-00000", extra={"destination_number": IBAN[:-1] + "9"})
    assert verdict([wrong], wallet_transfer()) is Verdict.CONTRADICTION
    same_account = entry("w-00000", extra={"destination_number": IBAN})
    assert verdict([same_account], wallet_transfer()) is Verdict.REPORTED


def test_classify_stored_track_id_is_converted() -> None:
    classifications = classify([entry("w*t-00000*1")], [transfer()], lambda stored: stored.split("*")[1])
    assert classifications["t-00000"].verdict is Verdict.REPORTED


def refusal(code: int | str, http: int, executed: Executed | None) -> StatusError:
    return BY_STATUS[code](code, "x", http_status=http, executed=executed)


track_ids = st.sampled_from(["t-00000", "t-00001", "t-00002", "other", None])
statuses = st.sampled_from(["success", "failed", "pending", "queued", ""])
entries = st.builds(
    entry,
    track_ids,
    statuses,
    hashid=st.sampled_from([None, "a", "b"]),
    extra=st.dictionaries(
        st.sampled_from(["amount", "deposit", "destination_account", "x"]),
        st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=30), st.lists(st.integers())),
    ),
)
results = st.one_of(
    st.lists(st.one_of(entries, st.none(), st.text()), max_size=6),
    st.lists(entries, max_size=6),
    st.none(),
    st.text(),
    st.dictionaries(st.text(), st.integers()),
    st.just(Accepted()),
)
errors_raised = st.one_of(
    st.builds(
        refusal,
        st.sampled_from(list(BY_STATUS)),
        st.integers(100, 599),
        st.sampled_from(["no", "maybe", None]),
    ),
    st.builds(StatusError, st.one_of(st.integers(), st.text())),
    st.builds(errors.NoResponse, st.text()),
    st.builds(errors.NotSent, st.text()),
    st.builds(RuntimeError, st.text()),
)


@given(result=st.one_of(results, errors_raised), count=st.integers(1, 3))
def test_classify_any_result_covers_each_transfer(result: object, count: int) -> None:
    values = transfers(count)
    classifications = classify(result, values, same)
    assert set(classifications) == {value.track_id for value in values}
    for classification in classifications.values():
        assert isinstance(classification.verdict, Verdict)
        assert (classification.verdict is not Verdict.REPORTED) or classification.settlement is not None


@given(error=errors_raised)
def test_classify_maybe_executed_is_ambiguous(error: PaystarError | RuntimeError) -> None:
    result = verdict(error)
    if not isinstance(error, PaystarError) or error.executed == "maybe":
        assert result is Verdict.AMBIGUOUS
    assert result not in (Verdict.REPORTED, Verdict.CONTRADICTION)


@given(result=st.lists(entries, max_size=6), order=st.randoms(use_true_random=False))
def test_classify_ignores_order_of_entries(result: list[Settlement], order: Any) -> None:
    values = transfers(3)
    shuffled = list(result)
    order.shuffle(shuffled)
    original, reordered = classify(result, values, same), classify(shuffled, values, same)
    assert {name: classification.verdict for name, classification in original.items()} == {
        name: classification.verdict for name, classification in reordered.items()
    }


def test_refusals_agree_with_executed() -> None:
    for kind in REFUSALS:
        assert kind.executed == "no"
    for status in range(100, 600):
        if http_may_have_executed(status):
            error = errors.InvalidInput(10, "x", http_status=status, executed="maybe")
            assert verdict(error) is Verdict.AMBIGUOUS
