"""The bank's list of transfers, newest first, read page by page while new transfers keep arriving."""

from collections.abc import AsyncGenerator, Container, Iterable, Mapping, Sequence
from contextlib import aclosing

import anyio

from paystar_async.listing import EntryKey, entry_key, pages
from paystar_async.models.transfers import Settlement
from paystar_async.payouts.product import Product

PAGE_SIZE = 500
FINDS_AT_ONCE = 4


class NoListError(LookupError):
    """Raised by ``walk`` for a product whose transfers cannot be listed, only found by track_id: a wallet's."""


async def walk(
    product: Product, deposit: str, *, timeout: float, known: Container[EntryKey] = frozenset()
) -> AsyncGenerator[Sequence[Settlement], None]:
    """Walk the bank's list of a deposit account, newest first, each entry once, to its end; break to stop earlier.

    A transfer that is accepted while the list is walked is not necessarily seen. The end is an empty page: a page that
    is shorter than was asked for may have more behind it.

    Args:
        product: bank transfers of an application.
        deposit: the deposit account the transfers leave.
        timeout: seconds one page may take.
        known: keys of entries that an earlier walk has seen; the page that has one of these is the last. An entry
            without a hashid is never known.

    Yields:
        The entries of a page that no earlier page had, never none.

    Raises:
        NoListError: the product has no list; nothing was asked, and nothing is known of what is absent.
        BadAnswer: the list does not go on, whatever is skipped; what was yielded holds, what is behind is not known.
        StatusError, NotSent, Unanswered: a page could not be had; what was yielded holds.

    Source: GET /bank-transfer/settlement-requests
    """

    async def fetch(skip: int) -> Sequence[Settlement]:
        page = await product.list(deposit, PAGE_SIZE, skip, timeout)
        if page is None:
            raise NoListError(f"transfers of a {product.name} cannot be listed")
        return page

    async with aclosing(pages(fetch)) as walked:
        async for page in walked:
            yield page
            if any(key in known for entry in page if (key := entry_key(entry)) is not None):
                return


async def find_each(
    product: Product, track_ids: Iterable[str], *, timeout: float
) -> Mapping[str, Sequence[Settlement]]:
    """Look transfers up by their track_ids, a few at once.

    Args:
        product: what is paid out.
        track_ids: whom to ask about.
        timeout: seconds each request may take.

    Returns:
        The entries of the response about each track_id; whose they are, each entry says itself.

    Raises:
        StatusError, NotSent, Unanswered, BadAnswer: one could not be looked up; the others are left off.

    Source: GET /bank-transfer/settlement-requests, GET /wallet/settlement-requests
    """
    found: dict[str, Sequence[Settlement]] = {}
    failures: list[Exception] = []
    remaining = iter(track_ids)

    async def look_up(scope: anyio.CancelScope) -> None:
        for track_id in remaining:
            try:
                found[track_id] = await product.find(track_id, timeout)
            except Exception as error:  # a group would wrap it in one of its own
                failures.append(error)
                scope.cancel()
                return

    async with anyio.create_task_group() as group:
        for _ in range(FINDS_AT_ONCE):
            group.start_soon(look_up, group.cancel_scope)
    if failures:
        raise failures[0]
    return found
