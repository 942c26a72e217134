"""What several tests in Chromium do with a page."""

from __future__ import annotations

from playwright.sync_api import Page


def sign_out(page: Page) -> None:
    """Sign out by the account's menu; on a phone there is one menu for everything."""
    page.locator("header details.menu:visible").last.locator("summary").click()
    page.locator("header button:visible", has_text="Sign out").click()
