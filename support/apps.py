"""The Django app `support`."""

from django.apps import AppConfig


class SupportConfig(AppConfig):
    name = "support"
