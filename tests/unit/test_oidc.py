"""ID tokens and answers of a directory: each check of OpenID Connect Core 1.0, with a token that fails it alone."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tenants import oidc
from tenants.asserted import role_of
from tenants.errors import SignOnRefused
from tenants.models import Role

ISSUER, CLIENT, NONCE = "https://login.acme.example", "byok", "n-0S6_WzA2Mj"
KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
SHORT = rsa.generate_private_key(65537, 1024)
CURVE = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, kid: str = "1", **more: Any) -> dict[str, Any]:
    of = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(of.to_jwk(key.public_key())), "kid": kid, "use": "sig", **more}


KEYS = [jwk(KEY), jwk(CURVE, "2")]


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    given = {"iss": ISSUER, "aud": CLIENT, "sub": "dora", "exp": now + 300, "iat": now, "nonce": NONCE, **changed}
    return {name: value for name, value in given.items() if value is not Ellipsis}


def token(key: Any = KEY, algorithm: str = "RS256", kid: Any = "1", **changed: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changed), key, algorithm, headers=headers)


def read(text: Any, keys: Any = KEYS) -> dict[str, Any]:
    return oidc.verified(text, keys, issuer=ISSUER, client_id=CLIENT, nonce=NONCE)


def test_a_right_token_is_read() -> None:
    assert read(token())["sub"] == "dora"
    assert read(token(CURVE, "ES256", "2"))["sub"] == "dora"
    assert read(token(algorithm="PS256"))["sub"] == "dora"
    assert read(token(aud=[CLIENT]))["sub"] == "dora"
    assert read(token(aud=[CLIENT, "other"], azp=CLIENT))["sub"] == "dora"
    assert read(token(kid=None), [jwk(KEY)])["sub"] == "dora"


NOW = time.time()
WRONG: dict[str, Callable[[], Any]] = {
    "of another issuer": lambda: token(iss="https://login.evil.example"),
    "of an issuer with a slash more": lambda: token(iss=ISSUER + "/"),
    "without issuer": lambda: token(iss=...),
    "for another client": lambda: token(aud="other"),
    "for nobody": lambda: token(aud=[]),
    "without audience": lambda: token(aud=...),
    "for several, by another": lambda: token(aud=[CLIENT, "other"], azp="other"),
    "for several, by nobody": lambda: token(aud=[CLIENT, "other"]),
    "for us, by another": lambda: token(azp="other"),
    "with NUL in a group": lambda: token(groups=["a\x00"]),
    "with half a surrogate pair in the address": lambda: token(email="d\ud800@acme.example"),
    "with half a surrogate pair in a name": lambda: token(**{"x\udfff": {}}),
    "that has ended": lambda: token(exp=int(NOW) - 120),
    "without an end": lambda: token(exp=...),
    "whose end is a word": lambda: jwt.encode(claims(), KEY, "RS256", headers={"kid": "9"}),
    "of the future": lambda: token(iat=int(NOW) + 3600),
    "not valid yet": lambda: token(nbf=int(NOW) + 3600),
    "without a nonce": lambda: token(nonce=...),
    "with another nonce": lambda: token(nonce="other"),
    "with an empty nonce": lambda: token(nonce=""),
    "without a subject": lambda: token(sub=...),
    "with an empty subject": lambda: token(sub=""),
    "with a long subject": lambda: token(sub="x" * 256),
    "with a subject that holds a line break": lambda: token(sub="a\nb"),
    "signed by another key": lambda: token(OTHER),
    "signed by a key that nobody named": lambda: token(kid="3"),
    "signed with HS256 under the client secret": lambda: token("a secret that is long enough for it", "HS256"),
    "signed with HS256 under the public key": lambda: forged(
        {"alg": "HS256", "kid": "1"},
        KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    ),
    "not signed": lambda: jwt.encode(claims(), None, "none", headers={"kid": "1"}),
    "not signed, in capitals": lambda: forged({"alg": "NONE", "kid": "1"}, b""),
    "whose header names a kind that its key has not": lambda: forged({"alg": "ES256", "kid": "1"}, b"x"),
    "with a key of its own in the header": lambda: jwt.encode(
        claims(), OTHER, "RS256", headers={"kid": "9", "jwk": jwk(OTHER, "9")}
    ),
    "with an address of keys in the header": lambda: jwt.encode(
        claims(), OTHER, "RS256", headers={"kid": "9", "jku": "https://login.evil.example/jwks"}
    ),
    "whose end was cut off": lambda: token()[:-4],
    "with a changed body": lambda: swapped(token(), sub="alice"),
    "that is no token": lambda: "x.y.z",
    "that is nothing": lambda: None,
    "that is a number": lambda: 7,
    "that is a list": lambda: [token()],
}


def forged(header: dict[str, Any], key: bytes) -> str:
    """Sign by HMAC whatever the header says."""
    import hashlib
    import hmac

    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in (header, claims())]
    signature = hmac.new(key, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def swapped(text: str, **changed: Any) -> str:
    head, _, signature = text.split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(**changed)).encode()).rstrip(b"=").decode()
    return ".".join([head, body, signature])


@pytest.mark.parametrize("wrong", WRONG)
def test_a_token_is_refused(wrong: str) -> None:
    with pytest.raises(SignOnRefused):
        read(WRONG[wrong]())


@pytest.mark.parametrize(
    "keys",
    [
        None,
        [],
        {},
        "x",
        [None],
        [{}],
        [jwk(KEY, use="enc")],
        [jwk(KEY, alg="RS512")],
        [jwk(OTHER)],
        [jwk(KEY), jwk(OTHER)],
        [{"kty": "oct", "kid": "1", "k": "eHh4", "use": "sig"}],
        [{**jwk(KEY), "n": "!"}],
    ],
    ids=range(12),
)
def test_keys_that_cannot_have_signed_it_refuse_it(keys: Any) -> None:
    with pytest.raises(SignOnRefused):
        read(token(), keys)


def test_a_short_key_counts_for_nothing() -> None:
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        text = token(SHORT)
    with pytest.raises(SignOnRefused):
        read(text, [jwk(SHORT)])


def test_without_a_nonce_of_ours_nothing_is_right() -> None:
    with pytest.raises(SignOnRefused):
        oidc.verified(token(nonce=""), KEYS, issuer=ISSUER, client_id=CLIENT, nonce="")


# --- what it says of the person ----------------------------------------------------------------------------


def asserted(**said: Any) -> Any:
    client = oidc.Client(
        whose="t",
        issuer=ISSUER,
        client_id=CLIENT,
        secret="",
        provider={},
        role_claim="groups",
        factor_values=frozenset({"mfa"}),
        redirect_uri="",
    )
    return oidc._asserted(client, {"sub": "dora", "email": "dora@acme.example", **said})


@pytest.mark.parametrize("verified", [False, "false", None, 0, "no", []])
def test_an_address_that_the_directory_has_not_verified_counts_for_nothing(verified: Any) -> None:
    with pytest.raises(SignOnRefused):
        asserted(email_verified=verified)


@pytest.mark.parametrize("email", ["", None, 7, ["dora@acme.example"], {}])
def test_an_address_is_a_text(email: Any) -> None:
    with pytest.raises(SignOnRefused):
        asserted(email=email)


@pytest.mark.parametrize(
    ("groups", "values"),
    [("a", ("a",)), (["a", "b"], ("a", "b")), (None, ()), (7, ()), (["a", 7, None], ("a",)), ({"a": 1}, ())],
)
def test_roles_come_from_texts_alone(groups: Any, values: tuple[str, ...]) -> None:
    assert asserted(groups=groups).values == values


@pytest.mark.parametrize(
    ("values", "default", "owners", "role"),
    [
        (["o"], "", True, Role.OWNER),
        (["o"], "", False, None),
        (["o"], "auditor", False, Role.AUDITOR),
        (["o", "a"], "", False, Role.ADMIN),
        (["r", "a"], "", True, Role.ADMIN),
        (["r"], "admin", True, Role.AUDITOR),
        (["A"], "", True, None),
        ([], "auditor", True, Role.AUDITOR),
        ([], "", True, None),
    ],
)
def test_the_highest_role_that_may_be_given_counts(values: list[str], default: str, owners: bool, role: Any) -> None:
    roles = {"o": "owner", "a": "admin", "r": "auditor"}
    assert role_of(values, roles=roles, default=default, may_make_owners=owners) == role
