"""OpenID Connect with a tenant's directory: what the issuer says of itself, where to send a person, what comes back.

Authorization code flow with PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9700). Every call goes through
`byokportal.outbound`. Nothing here knows the database.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from byokportal import clock, outbound, storable
from byokportal.errors import DomainError
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants.asserted import Asserted
from tenants.errors import DirectoryUnfit, SignOnRefused

# Signatures by a key of the issuer's; never HS*, whose key would be the client secret, and never "none".
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY = 60  # seconds that the issuer's clock may be off
WELL_KNOWN = "/.well-known/openid-configuration"
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
NOT_RIGHT = lazy(
    "What your organisation's sign-on answered is not right: %(what)s. Tell an owner of your organisation."
)


@dataclass(frozen=True, slots=True)
class Client:
    """How we are known to a directory, and what counts there."""

    whose: str
    issuer: str
    client_id: str
    secret: str
    provider: Mapping[str, Any]
    role_claim: str
    factor_values: frozenset[str]
    redirect_uri: str

    def __repr__(self) -> str:
        return f"Client({self.issuer})"


def discover(issuer: str, *, whose: str) -> dict[str, Any]:
    """Return the endpoints that an issuer names (OpenID Connect Discovery 1.0, section 4).

    Raises:
        AddressRefused, AddressUnreachable: an address of it is not one that we call, or does not answer.
        DirectoryUnfit: what it says of itself is not that of this issuer, or lacks something.
    """
    if "?" in issuer:
        raise DirectoryUnfit(why=_("An issuer is an address without a query."))
    said = _json(outbound.request(issuer.rstrip("/") + WELL_KNOWN, whose=whose), DirectoryUnfit)
    if said.get("issuer") != issuer:
        raise DirectoryUnfit(
            why=_("The address answers for another issuer than the one given, character by character.")
        )
    found: dict[str, Any] = {}
    for name in (*ENDPOINTS, "userinfo_endpoint"):
        address = said.get(name)
        if address is None and name not in ENDPOINTS:
            continue
        if not isinstance(address, str):
            raise DirectoryUnfit(why=_("It names no {name}.").format(name=name))
        outbound.target_of(address)
        found[name] = address
    methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    found["auth_methods"] = [one for one in methods if isinstance(one, str)] if isinstance(methods, list) else []
    return found


def authorize_url(client: Client, *, state: str, nonce: str, verifier: str, is_again: bool) -> str:
    """Return the address that the person's browser is sent to.

    Args:
        is_again: the person has to prove anew who they are (`prompt=login`, `max_age=0`).
    """
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "scope": "openid email profile",
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    } | ({"prompt": "login", "max_age": "0"} if is_again else {})
    address = str(client.provider["authorization_endpoint"])
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def redeem(client: Client, *, code: str, nonce: str, verifier: str) -> Asserted:
    """Exchange the code for an ID token, check it, and return what it says.

    Raises:
        SignOnRefused: it is not right.
        AddressRefused, AddressUnreachable: the directory could not be asked.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": verifier,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    methods = client.provider["auth_methods"]
    if "client_secret_post" in methods and "client_secret_basic" not in methods:
        form |= {"client_id": client.client_id, "client_secret": client.secret}
    else:  # RFC 6749, section 2.3.1: both parts are form-encoded first
        pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    address = client.provider["token_endpoint"]
    answer = outbound.request(
        address, whose=client.whose, method="POST", headers=headers, body=urlencode(form).encode()
    )
    if answer.status != 200:
        raise _refused(_("it did not take our client id and secret, or the code"))
    tokens = _json(answer, SignOnRefused)
    keys = _json(outbound.request(client.provider["jwks_uri"], whose=client.whose), SignOnRefused).get("keys")
    claims = verified(tokens.get("id_token"), keys, issuer=client.issuer, client_id=client.client_id, nonce=nonce)
    if "email" not in claims and "userinfo_endpoint" in client.provider:
        claims = claims | _userinfo(client, tokens.get("access_token"), claims["sub"])
    return _asserted(client, claims)


def verified(token: Any, keys: Any, *, issuer: str, client_id: str, nonce: str) -> dict[str, Any]:
    """Return the claims of an ID token after every check of OpenID Connect Core 1.0, section 3.1.3.7.

    Raises:
        SignOnRefused: one of them failed.
    """
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise _refused(_("its signature is of a kind that we do not take"))
        key = _key(keys, header)
        # Times are compared below, on the clock that all our processes share.
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=client_id,
            issuer=issuer,
            options={
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "require": ["exp", "iat", "sub", "iss", "aud"],
            },
        )
    except DomainError:
        raise
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise _refused(_("its ID token is not signed by it for us")) from None
    if not storable.is_whole(claims):
        raise _refused(_("its ID token holds a character that no text has"))
    now = clock.now().timestamp()
    if not isinstance(claims["exp"], int | float) or claims["exp"] <= now - LEEWAY:
        raise _refused(_("its ID token has ended"))
    if not isinstance(claims["iat"], int | float) or claims["iat"] > now + LEEWAY:
        raise _refused(_("its ID token is of the future"))
    if not isinstance(claims.get("nbf", 0), int | float) or claims.get("nbf", 0) > now + LEEWAY:
        raise _refused(_("its ID token is of the future"))
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != client_id:
        raise _refused(_("its ID token is for another client"))
    if not nonce or claims.get("nonce") != nonce:
        raise _refused(_("its ID token belongs to another sign-in"))
    if not isinstance(claims["sub"], str) or not 1 <= len(claims["sub"]) <= 255 or not claims["sub"].isprintable():
        raise _refused(_("it names nobody"))
    return claims


def _key(keys: Any, header: Mapping[str, Any]) -> Any:
    """Return the issuer's key that the header names, if it may sign so."""
    usable = [
        one
        for one in keys
        if one.get("use", "sig") == "sig"
        and one.get("kty") in {"RSA", "EC", "OKP"}
        and one.get("alg", header["alg"]) == header["alg"]
    ]
    named = [one for one in usable if one.get("kid") == header.get("kid")] if "kid" in header else usable
    if len(named) != 1:
        raise _refused(_("it has no key that signed its ID token"))
    key = jwt.PyJWK(named[0], algorithm=header["alg"]).key
    if isinstance(key, RSAPublicKey) and key.key_size < 2048:
        raise _refused(_("its key is too short"))
    return key


def _userinfo(client: Client, access_token: Any, subject: str) -> dict[str, Any]:
    """Return the address that the userinfo endpoint names for the same subject (section 5.3.2)."""
    if not isinstance(access_token, str) or not access_token.isascii() or not access_token.isprintable():
        return {}
    headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
    answer = outbound.request(client.provider["userinfo_endpoint"], whose=client.whose, headers=headers)
    said = _json(answer, SignOnRefused)
    if said.get("sub") != subject:
        raise _refused(_("it speaks of two people at once"))
    return {name: said[name] for name in ("email", "email_verified") if name in said}


def _asserted(client: Client, claims: Mapping[str, Any]) -> Asserted:
    email = claims.get("email")
    if not isinstance(email, str) or not email:
        raise _refused(_("it names no mail address"))
    if claims.get("email_verified", True) not in (True, "true"):
        raise _refused(_("it says that your mail address is not verified"))
    values = claims.get(client.role_claim) if client.role_claim else None
    listed = values if isinstance(values, list) else [values]
    methods = claims.get("amr")
    said = {one for one in [*(methods if isinstance(methods, list) else []), claims.get("acr")] if isinstance(one, str)}
    at, hosted = claims.get("auth_time"), claims.get("hd")
    proved_at = None
    if isinstance(at, int | float) and not isinstance(at, bool) and 0 < at < 2**35:
        proved_at = datetime.fromtimestamp(at, UTC)
    return Asserted(
        issuer=client.issuer,
        subject=claims["sub"],
        email=email,
        values=tuple(one for one in listed if isinstance(one, str)),
        has_second_factor=bool(said & client.factor_values),
        authenticated_at=proved_at,
        hosted_domain=hosted.lower() if isinstance(hosted, str) else "",
    )


def _json(answer: outbound.Answer, error: type[DirectoryUnfit] | type[SignOnRefused]) -> dict[str, Any]:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    if answer.status == 200 and isinstance(said, dict) and storable.is_whole(said):
        return said
    what = _("an address of it did not answer as OpenID Connect says")
    raise error(why=_(NOT_RIGHT, what=what) if error is SignOnRefused else f"{what[0].upper()}{what[1:]}.")


def _refused(what: str) -> SignOnRefused:
    return SignOnRefused(why=_(NOT_RIGHT, what=what))
