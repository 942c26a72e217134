"""The local AWS as a Django app, for its commands."""

from django.apps import AppConfig


class LocalAwsConfig(AppConfig):
    name = "byokportal.localaws"
    label = "localaws"
