"""What the local AWS remembers: accounts and moto's rows, in one file that survives a restart and a kill."""

from __future__ import annotations

import io
import json
import os
import pickle
import secrets
import string
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from moto.iam.models import User, iam_backends
from moto.kms.models import kms_backends

from byokportal.localaws.faults import Faults
from byokportal.localaws.trail import Trail
from byokportal.localaws.visibility import Visibility
from keys.policies.evaluator import Levels

VERSION = 3
HEADER = b"byok-localaws-state-%d\n"
# What a state file may name when it is read: moto's rows and plain values, nothing that runs a command.
ALLOWED = ("moto.", "collections", "datetime", "copyreg", "re", "byokportal.localaws.")
ADMINISTRATOR = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
BUILTINS = {"set", "frozenset", "dict", "list", "tuple", "object", "bytearray", "complex", "range", "slice"}


@dataclass(frozen=True, slots=True)
class Keys:
    """Long-lived access keys: of the administrator user of an account, or of its root user."""

    account: str
    access_key_id: str
    secret: str = field(repr=False)
    unique_id: str
    name: str = "user/administrator"

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:{self.name}"


def random_id(prefix: str, length: int = 20) -> str:
    """Return an identifier of AWS's form: a prefix, then capitals and digits."""
    return prefix + "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(length - len(prefix)))


class State:
    """Everything that the gate keeps beside moto; `changed()` writes down what has to last.

    Args:
        lasts: False keeps everything in memory alone: what is emptied before each test need not be safe on the disk.
    """

    def __init__(self, var_dir: Path, accounts: Sequence[str], *, lasts: bool = True) -> None:
        self.var_dir, self.lasts = var_dir, lasts
        self.file = var_dir / "localaws.state"
        self.admins: dict[str, Keys] = {}
        self.roots: dict[str, Keys] = {}
        self.session_key = secrets.token_bytes(32)  # seals session tokens
        self.organizations: dict[str, str] = {}  # account → the id of its organization
        self.scps: dict[str, Levels] = {}  # account → what its organization attached to it
        self.rcps: dict[str, Levels] = {}
        self.faults = Faults()
        self.visibility = Visibility()
        known = self._known_credentials()
        for account in accounts:
            given = known.get(account, {})
            self.admins[account] = Keys(
                account,
                given.get("access_key_id") or random_id("AKIA"),
                given.get("secret_access_key") or secrets.token_urlsafe(30),
                random_id("AIDA", 21),
            )
            self.roots[account] = Keys(
                account,
                given.get("root_access_key_id") or random_id("AKIA"),
                given.get("root_secret_access_key") or secrets.token_urlsafe(30),
                account,
                "root",
            )
        self._read()
        self._make_administrators()
        self.trail = Trail(var_dir / "localaws.trail")

    def _known_credentials(self) -> dict[str, dict[str, str]]:
        try:
            return dict(json.loads((self.var_dir / "localaws.json").read_text())["accounts"])
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError):
            raise SystemExit(
                f"{self.var_dir / 'localaws.json'} cannot be read. "
                "Remove it (and localaws.state beside it) to start with fresh accounts."
            ) from None

    def forget(self) -> None:
        """Go back to fresh accounts with the same administrators, without faults."""
        self.session_key = secrets.token_bytes(32)
        self.organizations.clear()
        self.scps.clear()
        self.rcps.clear()
        self.faults.clear()
        self.visibility.forget()
        self.trail.forget()
        _drop_moto()
        self._make_administrators()

    def _make_administrators(self) -> None:
        """Give each account the row of its administrator user, so that IAM finds it as it finds others."""
        for keys in self.admins.values():
            users = iam_backends[keys.account]["aws"].users
            name = keys.name.rpartition("/")[2]
            if name in users:
                continue
            user = users[name] = User(keys.account, "us-east-1", name)
            user.id = keys.unique_id
            user.policies["AdministratorAccess"] = json.dumps(ADMINISTRATOR)
            key = user.create_access_key("AKIA")
            key.access_key_id, key.secret_access_key = keys.access_key_id, keys.secret

    def changed(self) -> None:
        """Write the state to the file, atomically: an acknowledged change survives a kill."""
        if self.lasts:
            write_private(self.file, HEADER % VERSION + self.dump())

    def dump(self) -> bytes:
        """Return everything that lasts."""
        buffer = io.BytesIO()
        held = {
            "admins": _plain(self.admins),
            "roots": _plain(self.roots),
            "session_key": self.session_key,
            "scps": self.scps,
            "rcps": self.rcps,
            "organizations": self.organizations,
        }
        _Pickler(buffer, protocol=5).dump((held, _moto_rows()))
        return buffer.getvalue()

    def load(self, dumped: bytes) -> None:
        """Take over what `dump` returned; nothing is there of what was before."""
        _drop_moto()
        held, rows = _Unpickler(io.BytesIO(dumped)).load()
        for name in ("admins", "roots"):
            mine: dict[str, Keys] = getattr(self, name)
            mine |= {account: Keys(*facts) for account, facts in held[name].items() if account in mine}
        self.session_key, self.scps, self.rcps = held["session_key"], held["scps"], held["rcps"]
        self.organizations = held["organizations"]
        for account, iam in rows["iam"].items():
            iam_backends[account]["aws"].__dict__.update(iam)
        for (account, region), kms in rows["kms"].items():
            kms_backends[account][region].__dict__.update(kms)

    def _read(self) -> None:
        _drop_moto()
        if not self.file.exists():
            return
        header, _, body = self.file.read_bytes().partition(b"\n")
        if header + b"\n" != HEADER % VERSION:
            raise SystemExit(
                f"{self.file} was written by another version of the local AWS. "
                "Remove it (and localaws.json beside it) to start with fresh accounts."
            )
        try:
            self.load(body)
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, ValueError) as error:
            raise SystemExit(f"{self.file} is damaged ({error}). Remove it to start with fresh accounts.") from None


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 600 in one step: it is the old one or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mkstemp makes it 600
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, path)


def _plain(keys: dict[str, Keys]) -> dict[str, tuple[str, ...]]:
    return {a: (each.account, each.access_key_id, each.secret, each.unique_id, each.name) for a, each in keys.items()}


def _drop_moto() -> None:
    iam_backends.reset()
    kms_backends.reset()


def _moto_rows() -> dict[str, Any]:
    iam = {
        account: dict(partitions["aws"].__dict__) for account, partitions in iam_backends.items() if "aws" in partitions
    }
    for rows in iam.values():
        rows.pop("policy_arn_regex", None)
    kms = {
        (account, region): dict(backend.__dict__)
        for account, regions in kms_backends.items()
        for region, backend in regions.items()
    }
    return {"iam": iam, "kms": kms}


def _load_private_key(der: bytes) -> Any:
    return serialization.load_der_private_key(der, password=None)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            der = obj.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            loader: Callable[[bytes], Any] = _load_private_key
            return loader, (der,)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Reads back only what `_Pickler` writes; a file that names anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module == "builtins" and name not in BUILTINS) or (module != "builtins" and not module.startswith(ALLOWED)):
            raise SystemExit(
                f"The state file names {module}.{name}, which it never holds. Remove it to start with fresh accounts."
            )
        return super().find_class(module, name)
