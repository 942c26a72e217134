"""The local AWS inside a test process: started once, emptied before each test."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import create_loader

from byokportal.localaws import faults, server
from byokportal.localaws.faults import Faults
from keys.policies.evaluator import Levels

# Reads the description of a service once for all sessions: parsing IAM's anew takes longer than most calls.
LOADER = create_loader()
CONFIG = Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=10)


class LocalAws:
    """A running local AWS; `calls` lists (service, operation, account) since the last reset."""

    def __init__(self, var_dir: Path, accounts: Sequence[str] = server.ACCOUNTS, *, lasts: bool = False) -> None:
        self.var_dir, self._accounts, self._lasts = Path(var_dir), accounts, lasts

    def __enter__(self) -> Self:
        self._server, self.gate = server.start(self.var_dir, 0, self._accounts, lasts=self._lasts)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.client = cache(self._client)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def accounts(self) -> dict[str, dict[str, str]]:
        return server.credentials(self.gate.state)

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        return self.gate.calls

    @property
    def faults(self) -> Faults:
        return self.gate.state.faults

    def set_fault(self, fault: str, value: float | str | None = None, **where: Any) -> None:
        """Let something go wrong: `account`, `key`, `operation`, `times` say where and how often."""
        self.faults.add(faults.rule_of({"fault": fault, "value": value, **where}))

    def organization(self, account: str, *, name: str = "o-1", scps: Levels = (), rcps: Levels = ()) -> None:
        """Attach policies of an organization to an account, in place of those it had."""
        self.gate.state.organizations[account] = name
        self.gate.state.scps[account], self.gate.state.rcps[account] = list(scps), list(rcps)

    def reset(self) -> None:
        """Back to fresh accounts with the same administrators; what was there could have been written down."""
        self.gate.state.dump()
        self.gate.state.forget()
        self.gate.calls.clear()

    def kept(self) -> bytes:
        """Return the state of all accounts, for `put_back`."""
        return self.gate.state.dump()

    def put_back(self, kept: bytes) -> None:
        """Give all accounts a state that they had; no call was made in it yet."""
        self.gate.state.load(kept)
        self.gate.calls.clear()

    def session(self, account: str) -> boto3.Session:
        keys, core = self.accounts[account], botocore.session.Session()
        core.register_component("data_loader", LOADER)
        made = boto3.Session(keys["access_key_id"], keys["secret_access_key"], botocore_session=core)
        LOADER.search_paths[:] = dict.fromkeys(LOADER.search_paths)  # each session adds boto3's own
        return made

    def _client(self, account: str, service: str, region: str) -> Any:
        session: Any = self.session(account)
        return session.client(service, endpoint_url=self.endpoint, region_name=region, config=CONFIG)
