"""The application as Django loads it."""

from django.core.checks.registry import registry

from paystar_async.contrib.django.system_checks import check_deployment, check_settings


def test_ready_registers_checks_and_deployment_checks() -> None:
    usual: list[object] = [*registry.get_checks()]
    with_deployment: list[object] = [*registry.get_checks(include_deployment_checks=True)]
    assert check_settings in usual
    assert check_deployment not in usual
    assert check_deployment in with_deployment
