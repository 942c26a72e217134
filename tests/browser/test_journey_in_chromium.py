"""From signed in to a key in service, counted as one clicks it through: docs/journey.md is what this test saw.

RECORD_JOURNEY=1 writes the file anew; without it the test fails where the file says something else.
"""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from browser.test_portal_in_chromium import chromium, page, pytestmark, said
from conftest import Customer
from playwright.sync_api import Frame, Page

from keys.models import KeyRegistration
from tenants.models import Tenant

JOURNEY = Path(__file__).parents[2] / "docs" / "journey.md"
MOST_FIELDS, MOST_CLICKS, MOST_LOADS = 2, 5, 5


@dataclass
class Journey:
    """What a person does in the browser, and how many pages that loads."""

    page: Page
    rows: list[str] = field(default_factory=list)
    fields: int = 0
    clicks: int = 0
    copies: int = 0
    loads: int = 0

    def __post_init__(self) -> None:
        self.page.on("framenavigated", self._loaded)

    def _loaded(self, frame: Frame) -> None:
        self.loads += frame == self.page.main_frame

    def click(self, selector: str, words: str, leads_to: str) -> None:
        self.clicks += 1
        self.page.click(selector)
        self.page.wait_for_url(leads_to)
        self.rows.append(f"| click | {words} |")

    def fill(self, selector: str, value: str, words: str) -> None:
        self.fields += 1
        self.page.fill(selector, value)
        self.rows.append(f"| type | {words} |")

    def copy(self, selector: str, words: str) -> str:
        self.copies += 1
        self.rows.append(f"| copy | {words} |")
        return self.page.inner_text(selector)

    def text(self) -> str:
        """Return the page of the documentation."""
        lines = [
            "# From signed in to a key in service",
            "",
            "`tests/browser/test_journey_in_chromium.py` clicks this through in Chromium, counts, and fails where this "
            "file says something else (`RECORD_JOURNEY=1` writes it). What the person does in AWS is not in it.",
            "",
            "| what | so many | at most |",
            "| --- | --- | --- |",
            f"| fields typed | {self.fields} | {MOST_FIELDS} |",
            f"| clicks | {self.clicks} | {MOST_CLICKS} |",
            f"| page loads | {self.loads} | {MOST_LOADS} |",
            "",
            f"Beside these, {self.copies} texts are copied for AWS: by hand in the console these are three policies; "
            "the CloudFormation, Terraform and CLI documents of step 2 hold all of them in one.",
            "",
            "| | |",
            "| --- | --- |",
            *self.rows,
        ]
        return "\n".join(lines) + "\n"


def test_two_fields_five_clicks_and_five_pages_lead_to_a_key_in_service(
    page: Page, tenant: Tenant, customer: Customer, work: Callable[[], None], said: list[str]
) -> None:
    journey = Journey(page)
    journey.click("text=Ensure you have a KMS Customer Managed Key", "step 1, on the page one lands on", "**/steps/1/")
    journey.fill("input[name=key_arn]", customer.create_key(), "the CMK ARN")
    journey.click("text=Save and go on", "*Save and go on*", "**/steps/2/")
    trust = journey.copy("#trust-policy", "the trust policy")
    customer.create_role(trust, journey.copy("#permissions-policy", "the permissions policy"))
    journey.fill("input[name=role_arn]", customer.role_arn, "the Role ARN")
    journey.click("text=Save and go on", "*Save and go on*", "**/steps/3/")
    customer.add_key_statement(json.loads(journey.copy("#key-policy-statement", "the key policy statement")))
    journey.click("text=Go on: share both ARNs", "*Go on: share both ARNs*", "**/steps/6/")
    journey.click("button:has-text('Share both ARNs')", "*Share both ARNs*", f"**/tenants/{tenant.pk}/")
    work()
    page.wait_for_selector(".steps > .done:nth-child(5)", timeout=10_000)  # nobody reloads
    assert KeyRegistration.objects.get(tenant=tenant).status == "active"
    assert journey.fields <= MOST_FIELDS
    assert journey.clicks <= MOST_CLICKS
    assert journey.loads <= MOST_LOADS
    assert said == []
    if os.environ.get("RECORD_JOURNEY"):
        JOURNEY.write_text(journey.text())
    assert JOURNEY.read_text() == journey.text()
