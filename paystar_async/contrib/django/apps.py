"""Django's entry for the application, with its system checks."""

from django.apps import AppConfig
from django.core import checks


class PaystarConfig(AppConfig):
    """The application ``paystar``: it has system checks and commands, and no models."""

    name = "paystar_async.contrib.django"
    label = "paystar"
    verbose_name = "Paystar"

    def ready(self) -> None:
        """Register the system checks."""
        from paystar_async.contrib.django.system_checks import check_deployment, check_settings

        checks.register(check_settings)
        checks.register(check_deployment, deploy=True)
