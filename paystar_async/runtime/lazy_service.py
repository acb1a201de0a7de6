"""Services of a client that are created on first use."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class _Service(cached_property[T], Generic[T]):
    """A service created on first use; on the class of the client, the class of the service."""

    def __init__(self, build: Callable[[Any], T], load_class: Callable[[], type[T]]) -> None:
        super().__init__(build)
        self._load_class = load_class

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...

    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Any:
        # ``create_autospec(Paystar)`` reads the methods of a service here.
        return self._load_class() if instance is None else super().__get__(instance, owner)


def service(load_class: Callable[[], type[T]]) -> Callable[[Callable[[Any], T]], _Service[T]]:
    """Decorate the method of a client that creates a service.

    Args:
        load_class: returns the class of the service, imported on first use.
    """
    return lambda build: _Service(build, load_class)
