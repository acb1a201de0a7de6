"""Judges of assumptions: functions that return whether an observed response confirms or contradicts one."""

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

from attrs import define

from paystar_async.endpoint import Observation
from paystar_async.values.shapes import list_in, object_in

SUCCESS: Collection[int | str | None] = (1, "ok")
FAULTS: Collection[int | str | None] = (0, 11, -99)
"""Statuses of a failed service, whose HTTP status belongs to the failure."""
AMOUNT_WORDS = ("amount", "balance", "price", "credit", "debit")


@define
class Observed:
    """An observation with its parsed shape."""

    observation: Observation
    shape: Any

    @classmethod
    def parse(cls, observation: Observation) -> "Observed":
        """Return an observation with its shape parsed."""
        return cls(observation, json.loads(observation.shape))

    @property
    def data(self) -> Any:
        """Return the shape of ``data`` in the envelope; None without it."""
        return (object_in(self.shape) or {}).get("data")

    @property
    def is_success(self) -> bool:
        """Return True if the envelope reports success."""
        return self.observation.status in SUCCESS


Judge = Callable[[Observed], bool | None]
"""Return True if the response confirms the assumption, False if it contradicts, None if it says nothing."""


def by_fact(name: str, confirms: Collection[str], contradicts: Collection[str]) -> Judge:
    """Return a judge of a fact."""

    def judge(observed: Observed) -> bool | None:
        fact = observed.observation.facts.get(name)
        return True if fact in confirms else False if fact in contradicts else None

    return judge


def any_of(*judges: Judge) -> Judge:
    """Return a judge that contradicts if one of the judges does, and otherwise confirms if one does."""

    def judge(observed: Observed) -> bool | None:
        verdicts = [judge(observed) for judge in judges]
        return False if False in verdicts else True if True in verdicts else None

    return judge


def data_has(endpoint: str, *names: str, within: str | None = None) -> Judge:
    """Return a judge of the fields in the data of a success.

    Args:
        endpoint: the endpoint's id.
        names: the expected names.
        within: the list in the data whose entries have the fields; an empty list says nothing.
    """

    def judge(observed: Observed) -> bool | None:
        if observed.observation.endpoint != endpoint or not observed.is_success:
            return None
        data = observed.data
        if within is not None:
            entries = list_in((object_in(data) or {}).get(within))
            if entries == []:
                return None
            data = entries[0] if entries else None
        fields = object_in(data) or {}
        return all(fields.get(name, "absent") != "absent" for name in names)

    return judge


def data_lacks(*names: str, endpoints: str) -> Judge:
    """Return a judge that the data of a success lacks some fields, or has them as null.

    Args:
        names: the names.
        endpoints: the beginning of the endpoints' ids.
    """

    def judge(observed: Observed) -> bool | None:
        if not observed.observation.endpoint.startswith(endpoints) or not observed.is_success:
            return None
        fields = object_in(observed.data) or {}
        return all(fields.get(name, "null") in ("null", "text:empty:0") for name in names)

    return judge


def data_form(endpoint: str, path: tuple[str, ...], expected: Collection[str]) -> Judge:
    """Return a judge of the form of one field in the data of a success.

    Args:
        endpoint: the endpoint's id.
        path: the names that lead to the field; the entries of a list need no name.
        expected: the expected words or forms; ``object`` and ``list`` stand for any.
    """

    def judge(observed: Observed) -> bool | None:
        if observed.observation.endpoint != endpoint or not observed.is_success:
            return None
        shape = observed.data
        for name in path:
            while (entries := list_in(shape)) is not None:
                if not entries:
                    return None
                shape = entries[0]
            shape = (object_in(shape) or {}).get(name)
        kind = "object" if object_in(shape) is not None else "list" if list_in(shape) is not None else shape
        return None if kind is None else all(form_of(term) in expected for term in str(kind).split("|"))

    return judge


def form_of(term: str) -> str:
    """Return the form in a word of a shape, without the class of its length: ``digits`` of ``text:digits:5-8``."""
    kind, _, rest = term.partition(":")
    return rest.partition(":")[0] if kind == "text" else kind


def success_status(observed: Observed) -> bool | None:
    """Judge the status of a success: the word for bank transfers, the number for everything else."""
    if not observed.is_success:
        return None
    return (observed.observation.status == "ok") == observed.observation.endpoint.startswith("transfers.")


def refusal_http(observed: Observed) -> bool | None:
    """Judge the HTTP status of a refusal with a listed status."""
    status = observed.observation.status
    if status is None or status in SUCCESS or status in FAULTS or status in ("other", "unauthenticated"):
        return None
    allowed = (200, 400, 401) if status in (4, 5, 13) else (200, 400)
    return observed.observation.http_status in allowed


def unauthenticated_http(observed: Observed) -> bool | None:
    """Judge the HTTP status of the refusal of a gateway id."""
    return observed.observation.http_status == 401 if observed.observation.status == "unauthenticated" else None


def invalid_access_status(observed: Observed) -> bool | None:
    """Judge the status beside the message of a refused key."""
    if observed.observation.facts.get("message") != "invalid access":
        return None
    return observed.observation.status in (None, 0, 4, 5, 10)


def listed_status(observed: Observed) -> bool | None:
    """Judge whether a status is one that the reference lists."""
    observation = observed.observation
    if observation.status == "other":
        return None if observation.facts.get("message") == "invalid access" else False
    return None if observation.status is None or observed.is_success else True


def batch_shape(observed: Observed) -> bool | None:
    """Judge the data of an accepted settlement: an object for one transfer, a list for several."""
    if observed.observation.endpoint != "transfers.settle" or not observed.is_success:
        return None
    if observed.observation.sent == "one":
        return "track_id" in (object_in(observed.data) or {})
    return list_in(observed.data) is not None


def list_shape(observed: Observed) -> bool | None:
    """Judge the data of a look-up: a list, without a wrapper."""
    if observed.observation.endpoint not in ("transfers.find", "wallet.find") or not observed.is_success:
        return None
    return list_in(observed.data) is not None


def amount_form(observed: Observed) -> bool | None:
    """Judge amounts that are texts: no dots between groups of three digits."""
    forms = set(_amount_forms(observed.shape))
    return False if "dotted" in forms else True if forms & {"digits", "decimal", "grouped"} else None


def _amount_forms(shape: Any, name: str = "") -> Iterator[str]:
    if (fields := object_in(shape)) is not None:
        for key, content in fields.items():
            yield from _amount_forms(content, key)
    elif (entries := list_in(shape)) is not None:
        for entry in entries:
            yield from _amount_forms(entry, name)
    elif any(term in name for term in AMOUNT_WORDS):
        yield from (form_of(term) for term in str(shape).split("|") if term.startswith("text:"))


def status_words(endpoints: Collection[str]) -> Judge:
    """Return a judge of the words for the state of a transfer or payment."""

    def judge(observed: Observed) -> bool | None:
        if observed.observation.endpoint not in endpoints or not observed.is_success:
            return None
        words = set(_status_words(observed.data))
        return False if "word:other" in words else True if "word:known" in words else None

    return judge


def _status_words(shape: Any) -> Iterator[str]:
    for entry in list_in(shape) or ():
        yield from _status_words(entry)
    if (fields := object_in(shape)) is not None:
        yield from str(fields.get("status", "")).split("|")
        yield from _status_words(fields.get("data"))


def refused_field(endpoints: Collection[str], field: str) -> Judge:
    """Return a judge that no refusal of the endpoints names a field as invalid; a success confirms."""

    def judge(observed: Observed) -> bool | None:
        if observed.observation.endpoint not in endpoints or observed.observation.status is None:
            return None
        if observed.is_success:
            return True
        names = object_in(observed.data) or {}
        return False if any(name.split(".")[-1] == field for name in names) else None

    return judge


def unsigned_inquiry(observed: Observed) -> bool | None:
    """Judge the response to an inquiry without amount and signature."""
    observation = observed.observation
    if observation.endpoint != "gateway.inquiry" or observation.facts.get("signed") != "no":
        return None
    if observation.status in (*FAULTS, None, "unauthenticated"):
        return None
    return observation.status != -1


def probe_status(probe: str, expected: Collection[int | str | None]) -> Judge:
    """Return a judge of the status of the response to one of conform's own requests."""

    def judge(observed: Observed) -> bool | None:
        observation = observed.observation
        if observation.facts.get("probe") != probe or observation.status in (*FAULTS, None):
            return None
        return observation.status in expected

    return judge


def direct_path(observed: Observed) -> bool | None:
    """Judge the response at the paths of direct gateways: an envelope, not the 404 of a server."""
    observation = observed.observation
    if observation.facts.get("probe") != "direct path":
        return None
    return True if observation.status is not None else False if observation.http_status in (404, 405) else None


def refusal_names(endpoints: Collection[str], field: str) -> Judge:
    """Return a judge that is contradicted by a refusal that names a field as invalid; nothing confirms."""
    judge_field = refused_field(endpoints, field)
    return lambda observed: None if judge_field(observed) else judge_field(observed)


def default_callback(observed: Observed) -> bool | None:
    """Judge the method of a callback whose payment named none."""
    facts = observed.observation.facts
    if observed.observation.endpoint != "gateway.callback" or facts.get("default") != "yes":
        return None
    return facts.get("method") == "GET"
