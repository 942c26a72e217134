"""Run the local AWS as a plain process, without Django: `python -m byokportal.localaws`."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from pathlib import Path

from byokportal.localaws import server


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="localaws", description="A local AWS (IAM, STS, KMS) that refuses what AWS refuses."
    )
    parser.add_argument("--port", type=int, default=5005, help="0 takes a free one")
    parser.add_argument("--var-dir", type=Path, required=True, help="where localaws.json and the state live")
    parser.add_argument("--account", action="append", default=[], help="an account id of 12 digits; repeat for more")
    options = parser.parse_args(arguments)
    wrong = [account for account in options.account if not re.fullmatch(r"[0-9]{12}", account, re.ASCII)]
    if wrong:
        parser.error(f"{wrong[0]} is no account id: 12 digits")
    running, _ = server.start(options.var_dir, options.port, options.account or server.ACCOUNTS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"local AWS on http://127.0.0.1:{running.server_port}", flush=True)  # noqa: T201
    try:
        running.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
