"""Addresses that strangers make up, through the application that the web server runs: each gets an answer of ours.

Django's test client hands headers over as text; a server writes them as Latin-1.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asgi_server import Server
from django.test import Client
from url_map import addresses

from tenants import mailed_links, tokens

LINKS = sorted({"/" + one.route for one in addresses() if "<str:secret>" in one.route})
HOSTILE = ["中", "ü", "a" * 101, "\x00", "a\r\nSet-Cookie: x=1", '"; Path=x', " ", "\ufffd", "🔑", "a,b", "%"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server("")
    yield made
    made.close()


@pytest.mark.parametrize("route", LINKS)
def test_a_link_with_any_secret_leads_on(server: Server, route: str) -> None:
    for hostile in HOSTILE:
        answer = server.run(server.ask(route.replace("<str:secret>", hostile), [b""], method="GET"))
        assert answer.status == 302, hostile
        name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
        assert (name in {"invitation", "recovery", "address", "setup-link"}, value) == (True, '""'), hostile


@pytest.mark.parametrize("route", LINKS)
def test_a_secret_as_we_make_them_is_kept(server: Server, route: str) -> None:
    for raw in (tokens.new_secret("il"), tokens.new_secret()):
        assert mailed_links.SECRET.fullmatch(raw)
        answer = server.run(server.ask(route.replace("<str:secret>", raw), [b""], method="GET"))
        assert f"={raw};" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "there", ["abc", "tracker", "portal:home", "/\n", "/a\x00b", "//evil.example", "/" + "中" * 2000]
)
def test_a_page_to_go_back_to_that_is_none_is_no_failure(there: str) -> None:
    answer = Client().post("/language/", {"language": "de", "next": there})
    assert answer.status_code in {302, 400}
    assert "evil" not in answer.get("Location", "")
    back = Client().post(
        "/language/", {"language": "xx"}, headers={"referer": there.replace("\n", "").encode().decode("latin-1")}
    )
    assert back.status_code in {302, 400, 422}
