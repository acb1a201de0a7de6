"""Of all that would hold the loop, one piece a turn."""

import asyncio

import anyio
import pytest

from paystar_async.turns import turn
from tests.support import Turns


async def ask(said: list[tuple[str, int]], name: str, turns: Turns, pieces: int = 1) -> None:
    for _ in range(pieces):
        await turn()
        said.append((name, turns.number))


async def test_each_has_a_turn_of_its_own_in_the_order_they_came() -> None:
    said: list[tuple[str, int]] = []
    async with Turns() as turns:
        await asyncio.gather(*[ask(said, name, turns) for name in "abcd"])
        await ask(said, "e", turns)

    assert [name for name, _ in said] == list("abcde")
    assert len({number for _, number in said}) == 5


async def test_who_has_much_to_do_stands_in_line_again() -> None:
    said: list[tuple[str, int]] = []
    async with Turns() as turns:
        await asyncio.gather(*[ask(said, name, turns, pieces=3) for name in "ab"])

    assert [name for name, _ in said] == list("ababab")
    assert len({number for _, number in said}) == 6


async def test_who_is_called_off_in_line_holds_nobody_up() -> None:
    said: list[tuple[str, int]] = []
    async with Turns() as turns:
        tasks = [asyncio.create_task(ask(said, name, turns)) for name in "abcd"]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    assert [name for name, _ in said] == ["b", "d"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_each_loop_has_a_line_of_its_own(backend: str) -> None:
    async def play() -> list[str]:
        came: list[str] = []

        async def come(name: str) -> None:
            await turn()
            came.append(name)

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(come, name)
        return sorted(came)

    for _ in range(2):
        assert anyio.run(play, backend=backend) == ["a", "b", "c"]
