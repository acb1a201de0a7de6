"""JSON responses to errors of the SDK in a shop's own views."""

from django.http import HttpRequest, JsonResponse
from django.utils.deprecation import MiddlewareMixin

from paystar_async.contrib._responses import error_response
from paystar_async.errors import PaystarError


class PaystarErrorsMiddleware(MiddlewareMixin):
    """A middleware that responds to a PaystarError of a view with JSON; the details are only logged."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> JsonResponse | None:
        """Return the response to an error of the SDK; None for any other error.

        Args:
            request: the request.
            exception: the error that the view raised.
        """
        if not isinstance(exception, PaystarError):
            return None
        response = error_response(exception, f"{request.method} {request.path}")
        return JsonResponse(dict(response.body), status=response.status, headers=response.headers)
