"""The client for addresses that tenants give, against servers and name servers that mean no good."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rrset
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from byokportal import outbound
from byokportal.errors import AddressRefused, AddressUnreachable

NAME = "hooks.acme.example"

# --- which addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://hooks.acme.example/",
        "http://hooks.acme.example:8080/",
        "ftp://hooks.acme.example/",
        "file:///etc/passwd",
        "//hooks.acme.example/",
        "hooks.acme.example",
        "",
        "https://",
        "https:///x",
        "https://localhost/",
        "https://localhost./",
        "https://hooks/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://127.0.0.1.:443/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00:ec2::254]/",
        "https://[64:ff9b::7f00:1]/",
        "https://user:password@hooks.acme.example/",
        "https://hooks.acme.example@127.0.0.1/",
        "https://hooks.acme.example\\@127.0.0.1/",
        "https://hooks.acme.example#@127.0.0.1/",
        "https://hooks.acme.example/#fragment",
        "https://hooks.acme.example/a b",
        "https://hooks.acme.example/\r\nX-Evil: 1",
        "https://hooks.acme.example\n/",
        "https://hooks.acme.example/ä",
        "https://höoks.acme.example/",
        "https://hooks.acme.example:22/",
        "https://hooks.acme.example:25/",
        "https://hooks.acme.example:80/",
        "https://hooks.acme.example:0/",
        "https://hooks.acme.example:65536/",
        "https://hooks.acme.example:/",
        "https://hooks..acme.example/",
        "https://.acme.example/",
        "https://-hooks.acme.example/",
        "https://hooks.acme.example/" + "x" * 2000,
        "https://①②⑦.⓪.⓪.①/",
    ],
)
def test_an_address_that_is_not_plain_https_to_a_name_is_refused_unasked(address: str) -> None:
    with pytest.raises(AddressRefused):
        outbound.target_of(address)


def test_plain_addresses_are_taken() -> None:
    for address in (
        "https://hooks.acme.example/",
        "https://hooks.acme.example",
        "https://HOOKS.acme.example:8443/a/b?c=d&e=%20",
        "https://hooks.acme.example?x=1",
        "https://xn--hks-0nb.acme.example/~a/(b)",
    ):
        assert outbound.target_of(address).host.endswith("acme.example")


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1%eth0",
        "fec0::1",
        "ff02::1",
        "",
        "x",
        "2130706433",
        "127.1",
    ],
)
def test_what_is_not_the_public_internet_is_not_public(address: str) -> None:
    assert not outbound.is_public(address)


def test_the_public_internet_is() -> None:
    for address in ("8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1"):
        assert outbound.is_public(address)


def test_python_knows_no_private_address_that_we_take() -> None:
    """Python's own table is another reading of the same registries: where it says private, so do we."""
    networks = [*ipaddress._IPv4Constants._private_networks, *ipaddress._IPv6Constants._private_networks]  # type: ignore[attr-defined]
    for network in networks:
        for address in (network.network_address, network.broadcast_address):
            assert not outbound.is_public(str(address)), network


# --- what the DNS says --------------------------------------------------------------------------------------


class NameServer:
    """A name server that answers what its zone says now, and remembers what it was asked."""

    def __init__(self) -> None:
        self.zone: Callable[[str, str], list[str]] = lambda name, kind: []
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                packet, client = self._socket.recvfrom(4096)
            except OSError:
                return
            query = dns.message.from_wire(packet)
            question = query.question[0]
            name, kind = question.name.to_text().rstrip("."), dns.rdatatype.to_text(question.rdtype)
            self.asked.append((name, kind))
            answer = dns.message.make_response(query)
            if records := self.zone(name, kind):
                answer.answer.append(dns.rrset.from_text(question.name, 0, "IN", kind, *records))
            self._socket.sendto(answer.to_wire(), client)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def names(settings: object) -> Iterator[NameServer]:
    server = NameServer()
    settings.DNS_RESOLVER = f"127.0.0.1:{server.port}"  # type: ignore[attr-defined]
    yield server
    server.close()


@pytest.mark.parametrize(
    "records",
    [
        {"A": ["127.0.0.1"]},
        {"A": ["8.8.8.8", "10.0.0.1"]},
        {"A": ["10.0.0.1", "8.8.8.8"]},
        {"A": ["8.8.8.8"], "AAAA": ["::1"]},
        {"A": ["8.8.8.8"], "AAAA": ["::ffff:169.254.169.254"]},
        {"AAAA": ["64:ff9b::a9fe:a9fe"]},
        {"AAAA": ["fd00:ec2::254"]},
        {"AAAA": ["fe80::1"]},
        {"A": ["169.254.169.254"]},
    ],
    ids=str,
)
def test_one_address_of_a_name_that_is_not_public_refuses_all_of_it(
    names: NameServer, records: dict[str, list[str]]
) -> None:
    names.zone = lambda name, kind: records.get(kind, [])
    with pytest.raises(AddressRefused, match="no address on the public internet"):
        outbound.request(f"https://{NAME}/", whose="t")


def test_a_name_that_nobody_knows_is_refused_as_one_that_is_not_public(names: NameServer) -> None:
    """Two answers would tell which names there are in a DNS of ours."""
    with pytest.raises(AddressRefused, match="no address on the public internet"):
        outbound.request(f"https://{NAME}/", whose="t")


def test_a_name_server_that_does_not_answer_holds_nobody_up(settings: object) -> None:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    settings.DNS_RESOLVER = f"127.0.0.1:{silent.getsockname()[1]}"  # type: ignore[attr-defined]
    with pytest.raises(AddressUnreachable, match="DNS did not answer"):
        outbound.request(f"https://{NAME}/", whose="t", seconds=0.3)
    silent.close()


# --- servers that mean no good ---------------------------------------------------------------------------------


class Server:
    """Answers every connection by a function of the test; in TLS when it is given a context."""

    def __init__(
        self, answer: Callable[[socket.socket], None], context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.heard: list[bytes] = []
        self._answer, self._context = answer, context
        self._socket = socket.create_server((host, 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(plain,), daemon=True).start()

    def _one(self, plain: socket.socket) -> None:
        try:
            connection = self._context.wrap_socket(plain, server_side=True) if self._context else plain
            connection.settimeout(10)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            length = re.search(rb"Content-Length: (\d+)", head)
            while length and len(head.partition(b"\r\n\r\n")[2]) < int(length[1]):
                head += connection.recv(65536)
            self.heard.append(head)
            self._answer(connection)
            connection.close()
        except OSError:
            pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def serve(settings: object) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server which OUTBOUND_ALLOW names: by http, on this machine."""
    made: list[Server] = []

    def start(answer: Callable[[socket.socket], None] | bytes) -> Server:
        made.append(Server(answer if callable(answer) else lambda connection: connection.sendall(answer)))
        settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, f"http://127.0.0.1:{made[-1].port}"]  # type: ignore[attr-defined]
        return made[-1]

    yield start
    for server in made:
        server.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"


def call(server: Server, **options: object) -> outbound.Answer:
    return outbound.request(f"http://127.0.0.1:{server.port}/x?y=1", whose="t", **options)  # type: ignore[arg-type]


def test_it_sends_what_it_is_told_and_returns_what_comes(serve: Callable[..., Server]) -> None:
    server = serve(OK)
    answer = call(server, method="POST", headers={"X-Own": "1"}, body=b"abc")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"hello", "text/plain")
    head = server.heard[0]
    assert head.startswith(b"POST /x?y=1 HTTP/1.1\r\n")
    assert b"X-Own: 1" in head and b"Accept-Encoding: identity" in head and b"Content-Length: 3" in head


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(serve: Callable[..., Server], status: int) -> None:
    trap = serve(OK)
    server = serve(f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:{trap.port}/\r\n\r\n".encode())
    with pytest.raises(AddressUnreachable, match="redirect"):
        call(server)
    assert not trap.heard


def drip(connection: socket.socket, first: bytes, more: bytes) -> None:
    connection.sendall(first)
    for _ in range(200):
        connection.sendall(more)
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["status", "header", "headers", "continue", "body", "body without length", "chunks"],
)
def test_who_sends_a_little_now_and_then_does_not_keep_us(
    serve: Callable[..., Server], first: bytes, more: bytes
) -> None:
    """Each byte comes within any time-out of a single read; the deadline is for all of it."""
    server = serve(lambda connection: drip(connection, first, more))
    with pytest.raises(AddressUnreachable):
        call(server, seconds=0.4)


def test_who_says_nothing_does_not_keep_us(serve: Callable[..., Server]) -> None:
    server = serve(lambda connection: time.sleep(5))
    with pytest.raises(AddressUnreachable, match="in time"):
        call(server, seconds=0.3)


def test_who_reads_nothing_does_not_keep_us(settings: object) -> None:
    deaf = socket.create_server(("127.0.0.1", 0))
    settings.OUTBOUND_ALLOW = [f"http://127.0.0.1:{deaf.getsockname()[1]}"]  # type: ignore[attr-defined]
    with pytest.raises(AddressUnreachable, match="in time"):
        outbound.request(
            f"http://127.0.0.1:{deaf.getsockname()[1]}/", whose="t", method="POST", body=b"x" * 50_000_000, seconds=0.4
        )
    deaf.close()


def pour(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(2000):
            connection.sendall(piece)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        pour(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        pour(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 65536),
        pour(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        pour(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n", b"x" * 65536),
        pour(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 60000 + b"\r\n"),
        pour(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536),
    ],
    ids=["no length", "length", "chunks", "one chunk", "headers", "header"],
)
def test_an_answer_that_is_too_large_is_not_taken(serve: Callable[..., Server], answer: Callable[..., None]) -> None:
    with pytest.raises(AddressUnreachable):
        call(serve(answer), largest=100_000)


def test_an_answer_of_just_that_size_is(serve: Callable[..., Server]) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
    assert len(call(server, largest=1000).body) == 1000
    with pytest.raises(AddressUnreachable, match="too large"):
        call(server, largest=999)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
def test_nothing_is_unpacked(serve: Callable[..., Server], encoding: str) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding.encode() + b"\r\n\r\n" + bomb)
    with pytest.raises(AddressUnreachable, match="compressed"):
        call(server)


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"]
)
def test_what_is_no_http_is_a_failure_of_the_address(serve: Callable[..., Server], answer: bytes) -> None:
    with pytest.raises(AddressUnreachable):
        call(serve(answer))


def test_a_header_that_carries_a_line_break_is_not_sent(serve: Callable[..., Server]) -> None:
    server = serve(OK)
    with pytest.raises(AddressUnreachable):
        call(server, headers={"X-Own": "1\r\nX-Evil: 2"})
    assert not server.heard


def test_few_calls_run_at_once_and_fewer_for_one_tenant(serve: Callable[..., Server]) -> None:
    release = threading.Event()

    def wait(connection: socket.socket) -> None:
        release.wait(10)
        connection.sendall(OK)

    server, done = serve(wait), []
    threads = [
        threading.Thread(target=lambda: done.append(call(server).status)) for _ in range(outbound.AT_ONCE_FOR_ONE)
    ]
    for thread in threads:
        thread.start()
    while len(server.heard) < len(threads):
        time.sleep(0.01)
    with pytest.raises(AddressUnreachable, match="Too many"):
        call(server)
    other = serve(OK)
    assert outbound.request(f"http://127.0.0.1:{other.port}/", whose="another").status == 200
    release.set()
    for thread in threads:
        thread.join()
    assert done == [200] * len(threads)
    assert call(other).status == 200


# --- resolved once, and pinned -----------------------------------------------------------------------------------


def test_a_name_is_asked_once_and_the_connection_goes_where_it_was_judged(names: NameServer, settings: object) -> None:
    """DNS rebinding: from the second question on, the name leads elsewhere."""
    server = Server(lambda connection: connection.sendall(OK))
    settings.OUTBOUND_ALLOW = [f"http://{NAME}:{server.port}"]  # type: ignore[attr-defined]

    def zone(name: str, kind: str) -> list[str]:
        if kind != "A":
            return []
        return ["127.0.0.1"] if names.asked.count((name, kind)) == 1 else ["127.0.0.2"]

    names.zone = zone
    assert outbound.request(f"http://{NAME}:{server.port}/", whose="t").status == 200
    assert names.asked.count((NAME, "A")) == 1
    assert f"Host: {NAME}:{server.port}".encode() in server.heard[0]
    server.close()


def certificate(tmp_path: Path, *names: str) -> ssl.SSLContext:
    """Return a server's context with a certificate of our own authority, which the environment names as trusted."""
    now = datetime.datetime.now(datetime.UTC)
    key, authority = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of tests")])

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey, *more: tuple[x509.ExtensionType, bool]) -> bytes:
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
        )
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        for extension, critical in more:
            builder = builder.add_extension(extension, critical)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    (tmp_path / "authority.pem").write_bytes(
        build(issuer, authority.public_key(), (x509.BasicConstraints(True, None), True), (usage, True))
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    (tmp_path / "server.pem").write_bytes(
        build(subject, key.public_key(), (alternatives, False))
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


def in_tls(tmp_path: Path, settings: object, monkeypatch: pytest.MonkeyPatch, name: str) -> Server:
    server = Server(lambda connection: connection.sendall(OK), certificate(tmp_path, name))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    settings.OUTBOUND_ALLOW = [f"https://{NAME}:{server.port}"]  # type: ignore[attr-defined]
    (tmp_path / "dns.json").write_text(json.dumps({NAME: ["A 127.0.0.1"]}))
    settings.DNS_RESOLVER = f"file:{tmp_path / 'dns.json'}"  # type: ignore[attr-defined]
    return server


def test_tls_is_checked_for_the_name_while_the_connection_goes_to_the_address(
    tmp_path: Path, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = in_tls(tmp_path, settings, monkeypatch, NAME)
    assert outbound.request(f"https://{NAME}:{server.port}/", whose="t").body == b"hello"
    server.close()


def test_a_certificate_of_another_name_is_refused(
    tmp_path: Path, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = in_tls(tmp_path, settings, monkeypatch, "other.acme.example")
    with pytest.raises(AddressUnreachable, match="certificate"):
        outbound.request(f"https://{NAME}:{server.port}/", whose="t")
    assert not server.heard
    server.close()


def test_a_certificate_of_an_authority_that_nobody_trusts_is_refused(
    tmp_path: Path, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = in_tls(tmp_path, settings, monkeypatch, NAME)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(AddressUnreachable, match="certificate"):
        outbound.request(f"https://{NAME}:{server.port}/", whose="t")
    server.close()


def test_what_opens_no_tls_does_not_keep_us(tmp_path: Path, settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    server = in_tls(tmp_path, settings, monkeypatch, NAME)
    silent = Server(lambda connection: time.sleep(5))
    settings.OUTBOUND_ALLOW = [f"https://{NAME}:{silent.port}"]  # type: ignore[attr-defined]
    with pytest.raises(AddressUnreachable, match="in time"):
        outbound.request(f"https://{NAME}:{silent.port}/", whose="t", seconds=0.4)
    server.close()
    silent.close()


def test_the_environment_names_no_proxy_for_it(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    trap, server = serve(OK), serve(OK)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    assert call(server).status == 200
    assert not trap.heard


def test_nothing_is_allowed_unless_a_setting_says_so() -> None:
    from django.conf import settings

    assert settings.OUTBOUND_ALLOW == []
