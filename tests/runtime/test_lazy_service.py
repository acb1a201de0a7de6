"""Services of a client: created on first use, one for each client."""

from paystar_async.runtime.lazy_service import service


class Counter:
    """A service that counts its instances."""

    instances = 0

    def __init__(self) -> None:
        Counter.instances += 1


class Client:
    """A client with a service."""

    @service(lambda: Counter)
    def counter(self) -> Counter:
        return Counter()


def test_service_is_created_on_first_use_of_each_client() -> None:
    first, second = Client(), Client()
    assert Counter.instances == 0

    assert first.counter is first.counter
    assert first.counter is not second.counter
    assert Counter.instances == 2


def test_service_of_the_class_is_its_class() -> None:
    service_class: object = Client.counter
    assert service_class is Counter
