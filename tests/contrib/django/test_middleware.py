"""The middleware for errors of the SDK."""

from django.http import HttpResponse
from django.test import RequestFactory

from paystar_async.contrib.django.middleware import PaystarErrorsMiddleware
from paystar_async.errors import InvalidValue


def test_middleware_leaves_other_errors_to_django() -> None:
    middleware = PaystarErrorsMiddleware(lambda _: HttpResponse())
    assert middleware.process_exception(RequestFactory().get("/"), KeyError()) is None
    response = middleware.process_exception(RequestFactory().get("/"), InvalidValue("a", expected="b", got="c"))
    assert response is not None
    assert response.status_code == 422
