"""Every sentence on a page for people goes through the catalog: each one that does is marked, and none is left over.

The catalog is replaced by one that puts marks around whatever is looked up. What stands outside the marks is data, or
it was never marked for translation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from architecture.test_query_budgets import portal_pages, world_of
from django.test import Client
from django.utils.translation import trans_real
from url_map import addresses, is_page

from keys.models import KeyRegistration
from tenants.models import Member

BEGIN, END = "\u27e6", "\u27e7"
SILENT = {"script", "style", "code", "pre", "svg", "textarea"}  # what is copied, and what nobody reads
ATTRIBUTES = ("title", "aria-label", "placeholder", "alt", "data-label")
# Names, and words that are the same in every language of ours.
NAMES = """Acme Bank|Kore.ai|AWS|KMS|IAM|CMK|ARN|UTC|CloudFormation|Terraform|CLI|CSV|JSON|Lines|SAML|SCIM|OpenID
|Connect|Slack|PagerDuty|Standard|Webhooks?|API|CloudTrail|EventBridge|CloudWatch|Lake|External|ID|English|Deutsch|Region
|because|login.acme.example|byok.acme.example|byok|byok-access.json|byok-access.sh|byok.tf|assume-role|describe-key|get-key-policy
|get-role|simulate-principal-policy|webhook-id|AWS_KMS|CUSTOMER|ENCRYPT_DECRYPT|SYMMETRIC_DEFAULT|Enabled"""
DATA = re.compile(
    r"[\w.+-]+@[\w.-]+|An error occurred \(\w+\) when calling the \w+ operation: … is not authorized to perform:|"
    r"--[\w-]+|AIforWork\w+|"
    + r"https?://\S+|\b(kms|iam|sts):\w+\*?|\b[A-Z][a-z]+[A-Z]\w+|\.tf\b|byok-[\w-]+\.\w+|arn:\S+|[\w-]*\d[\w:.-]*|\b(first|more)-\d+|(?<![\w-])("
    + NAMES.replace("\n", "").replace(".", r"\.")
    + r")(?![\w-])"
)
# Documents that are whole in each language.
DOCUMENTS = {"/tenants/<tenant>/guide/", "/tenants/<tenant>/change-request/"}


PLACE = re.compile(r"(%\(\w+\)[a-z]|%[%a-z]|\{\w*\})")


class Marked(dict[Any, Any]):
    """The catalog with each sentence itself, with marks around it but not around what is filled in."""

    def __init__(self, real: Any) -> None:
        super().__init__()
        self.real = real

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401  it is how `get` is done

    def __contains__(self, key: object) -> bool:
        return key in self.real

    def __getitem__(self, key: Any) -> str:
        if key not in self.real:
            raise KeyError(key)
        return self._marked(key[0] if isinstance(key, tuple) else key)

    @staticmethod
    def _marked(key: str) -> str:
        text = key.rpartition("\x04")[2]
        return PLACE.sub(rf"{END}\1{BEGIN}", f"{BEGIN}{text}{END}") if text.strip() else text

    def plural(self, key: Any, number: int) -> str:
        self.real.plural(key, number)  # raises where the catalog has none
        return self._marked(key)


class Page(HTMLParser):
    """What is left of a page outside the marks."""

    def __init__(self) -> None:
        super().__init__()
        self.depth, self.silent, self.left = 0, 0, []  # type: ignore[var-annotated]
        self.stack: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name in ATTRIBUTES:
            self._outside(given.get(name) or "", 0)
        if tag not in {"br", "img", "input", "meta", "link", "hr", "use", "path", "wbr", "circle", "rect", "line"}:
            is_data = tag in SILENT or given.get("translate") == "no" or given.get("lang") not in {None, "de"}
            self.stack.append(is_data)
            self.silent += is_data

    def handle_endtag(self, tag: str) -> None:
        if self.stack and tag not in {"br", "img", "input", "meta", "link", "hr", "use", "path", "wbr"}:
            self.silent -= self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.depth = self._outside(data, self.depth, is_silent=self.silent > 0)

    def _outside(self, text: str, depth: int, *, is_silent: bool = False) -> int:
        outside = []
        for character in text:
            if character in {BEGIN, END}:
                depth += 1 if character == BEGIN else -1
                outside.append(" ")
            elif depth == 0:
                outside.append(character)
        words = " ".join(DATA.sub(" ", "".join(outside)).split())
        if not is_silent and re.search(r"[A-Za-z]{2}", words):
            self.left.append(words)
        return depth


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    german = trans_real.translation("de")
    monkeypatch.setattr(german, "_catalog", Marked(german._catalog))


def left_over(client: Client, pages: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    found = {}
    for name, path in pages:
        if name in DOCUMENTS:
            continue
        answer = client.get(path, headers={"accept-language": "de"})
        if answer.status_code != 200 or "html" not in answer["Content-Type"]:
            continue
        page = Page()
        page.feed(answer.content.decode())
        if page.left:
            found[name] = sorted(set(page.left))
    return found


def _told(found: dict[str, list[str]]) -> str:
    seen: dict[str, str] = {}
    for name, words in found.items():
        for one in words:
            seen.setdefault(one, name)
    return "\n".join(f"{where}: {words}" for words, where in seen.items())


def test_every_page_with_a_row_of_everything(
    marked: None, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    found = left_over(browser_of(alice), portal_pages(world_of(alice)))
    assert not found, _told(found)


def test_every_page_of_a_key_in_service(
    marked: None, alice: Member, active: KeyRegistration, browser_of: Callable[[Member], Client]
) -> None:
    named: dict[str, Any] = {"tenant": active.tenant, "test": active.tests.get(), "number": alice}
    # Pages of rows that this world does not have are not there, and are the other test's.
    there_is_none = dict.fromkeys(("ticket", "drill", "domain", "approval", "webhook", "stream", "former"), alice)
    found = left_over(browser_of(alice), portal_pages(there_is_none | named))
    assert not found, _told(found)


def test_every_page_of_an_account(marked: None, alice: Member, browser_of: Callable[[Member], Client]) -> None:
    pages = [
        (one.route, f"/{one.route}")
        for one in addresses()
        if one.route.startswith("accounts/") and "<" not in one.route and is_page(one)
    ]
    for client in (browser_of(alice), Client()):
        found = left_over(client, iter(pages))
        assert not found, _told(found)
