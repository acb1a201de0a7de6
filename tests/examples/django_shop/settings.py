"""The settings: orders and payments are in one database."""

import os

SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "only for this example")
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
INSTALLED_APPS = ["paystar_async.contrib.django", "tests.examples.django_shop.apps.ShopConfig"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
ROOT_URLCONF = "tests.examples.django_shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
}
POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": os.environ.get("SHOP_PGDATABASE"),
    "USER": os.environ.get("SHOP_PGUSER"),
    "HOST": os.environ.get("SHOP_PGHOST"),
    "OPTIONS": {"options": os.environ.get("SHOP_PGOPTIONS", "")},
    "CONN_MAX_AGE": 60,
}
DATABASES = {"default": POSTGRESQL if os.environ.get("SHOP_PGDATABASE") else SQLITE}

PAYSTAR = {"database": "django:default"}  # the credentials come from the environment
