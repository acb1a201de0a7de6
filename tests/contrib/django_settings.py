"""The settings of Django in the tests of this process; the client and the addresses are overridden by each test."""

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["paystar_async.contrib.django"]
MIDDLEWARE = [
    "paystar_async.contrib.django.middleware.PaystarErrorsMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "tests.contrib.django_settings"
USE_TZ = True
PAYSTAR: dict[str, object] = {}
urlpatterns: list[object] = []
