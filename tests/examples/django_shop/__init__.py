"""A shop of one product, in Django: order, payment page, callback, order status; under WSGI and ASGI.

``paystar sandbox`` prints the variables to set; then, with DJANGO_SETTINGS_MODULE=tests.examples.django_shop.settings:
``django-admin migrate --run-syncdb`` and ``gunicorn tests.examples.django_shop.wsgi``.
"""
