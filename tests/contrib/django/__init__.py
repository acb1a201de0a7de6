"""Tests of the Django application; the settings are set up before any test module imports it."""

from tests.contrib.shops import set_up_django

set_up_django()
