"""The application as Django loads it."""

from django.core.checks.registry import registry

from paystar_async.contrib.django.system_checks import check_deployment, check_settings


def test_ready_registers_checks_and_deployment_checks() -> None:
    assert check_settings in registry.get_checks()
    assert check_deployment not in registry.get_checks()
    assert check_deployment in registry.get_checks(include_deployment_checks=True)
