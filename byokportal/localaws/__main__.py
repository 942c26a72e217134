"""Run the local AWS as a plain process, without Django: `python -m byokportal.localaws`."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
from pathlib import Path

from byokportal import embedded_packages


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="localaws", description="A local AWS (IAM, STS, KMS) that refuses what AWS refuses."
    )
    parser.add_argument("--port", type=int, default=5005, help="0 takes a free one")
    parser.add_argument("--var-dir", type=Path, required=True, help="where localaws.json and the state live")
    parser.add_argument("--account", action="append", default=[], help="an account id of 12 digits; repeat for more")
    options = parser.parse_args(arguments)
    if absent := embedded_packages.missing(*embedded_packages.LOCAL_AWS):
        sys.exit(absent)
    from byokportal.localaws import server  # here, so that a machine without moto is told what is missing

    wrong = [account for account in options.account if not re.fullmatch(r"[0-9]{12}", account, re.ASCII)]
    if wrong:
        parser.error(f"{wrong[0]} is no account id: 12 digits")
    running, _ = server.start(options.var_dir, options.port, options.account or server.ACCOUNTS)

    def end(*_: object) -> None:
        # An exception raised in a handler comes wherever the main thread is, in a finaliser too, where Python drops
        # it. `shutdown` waits for the loop that this thread runs.
        threading.Thread(target=running.shutdown, daemon=True).start()

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, end)
    print(f"local AWS on http://127.0.0.1:{running.server_port}", flush=True)  # noqa: T201
    running.serve_forever()
    # What was answered is on disk. Requests that hang in a fault of minutes have threads of their own,
    # and nobody waits for them.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
