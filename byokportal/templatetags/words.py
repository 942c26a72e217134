"""Filters for pages, mails and tickets: codes and actors in words."""

from django import template

from byokportal import words

register = template.Library()
register.filter("label", words.label)
register.filter("person", words.person)
register.filter("for_staff", words.for_staff)
