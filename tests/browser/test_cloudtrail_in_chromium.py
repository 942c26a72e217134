"""An export of CloudTrail is compared in Chromium: from the choice of a file to what was found, without a fault."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browser.test_every_page_in_chromium import Look, look
from browser.test_portal_in_chromium import chromium, page, pytestmark, said
from conftest import REGION, Customer
from django.urls import reverse
from playwright.sync_api import expect

from byokportal.localaws.testing import LocalAws
from keys import datakeys
from keys.models import KeyRegistration
from tenants.models import Tenant


@pytest.mark.slow
def test_an_export_is_compared_and_the_result_is_downloaded(
    look: Look, tenant: Tenant, active: KeyRegistration, customer: Customer, aws: LocalAws, tmp_path: Path
) -> None:
    datakeys.generate(tenant, [{"a": "b"}], caller="tests", request_id="r")
    answer = aws.client(customer.account, "cloudtrail", REGION).lookup_events()["Events"]
    events: list[dict[str, Any]] = [json.loads(event["CloudTrailEvent"]) for event in answer]
    ours = next(event for event in events if event["eventName"] == "Decrypt")
    stolen = ours | {"requestID": "stolen", "eventID": "stolen"}
    mallory = {"type": "IAMUser", "arn": f"arn:aws:iam::999999999999:user/{'m' * 60}"}
    alien = ours | {"requestID": "alien", "eventID": "alien", "userIdentity": mallory}
    export = tmp_path / "export.json"
    page, address = look.page, reverse("portal:reconciliation", args=[tenant.pk])

    look.at(address)
    for records, heading in (
        (events, "Nothing in your role is unexplained"),
        ([*events, stolen, alien], "is not explained by any of ours"),
        ([], "No call on your key or your role"),
    ):
        export.write_text(json.dumps({"Records": records}))
        page.goto(address)
        page.locator("input[type=file]").set_input_files(export)
        page.get_by_role("button", name="Compare", exact=True).click()
        expect(page.get_by_role("status").get_by_role("heading")).to_contain_text(heading)
        look.here(f"cloudtrail-{len(records)}")
    page.locator("input[type=file]").set_input_files(export)
    with page.expect_download() as download:
        page.get_by_role("button", name="Compare and download the result").click()
    assert json.loads(Path(download.value.path()).read_text())["compared"] == 0
    assert not look.found, "\n".join(look.found)
