"""`python -m byokportal.embedded run` or `demo`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from byokportal.embedded import demo
from byokportal.embedded.stack import ROOT, CannotStart, Stack


def main() -> int:
    what = sys.argv[1] if len(sys.argv) > 1 else "run"
    if what == "demo":
        return demo.main()
    return run()


def run() -> int:
    """Run until Ctrl-C; exit 0 then, 1 when something is in the way."""
    stack = Stack(
        Path(os.environ.get("VAR_DIR", str(ROOT / "var"))),
        port=_port("PORT", 8000),
        aws_port=_port("AWS_PORT", 5005),
        settings={},
        show=lambda line: print(line, flush=True),
    )
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    give_back = _take_terminal()
    try:
        _tell(stack.start(), stack)
        stack.watch()
    except CannotStart as error:
        print(f"Cannot start. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopping. Everything is kept: `make run` goes on where you left it.", flush=True)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave children behind
        stack.stop()
        give_back()
    return 0


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _take_terminal() -> Callable[[], None]:
    """Become the terminal's foreground group:
    Ctrl-C is then ours alone, and `make` ends with our 0 instead of dying of it."""
    if not sys.stdin.isatty():
        return lambda: None
    before = os.tcgetpgrp(0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a background group that sets the foreground is stopped otherwise
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())

    def give_back() -> None:
        os.tcsetpgrp(0, before)

    return give_back


def _port(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65535:
        print(f"{name} has to be a port number, 0 to 65535.", file=sys.stderr)
        raise SystemExit(1)
    return int(text)


def _tell(run: dict[str, Any], stack: Stack) -> None:
    owner, support = run["sign_ins"]["owner"], run["sign_ins"]["support"]
    account, keys = next(iter(run["accounts"].items()))
    gap = stack.environment["EXTERNAL_ID_PROBE_GAP"]
    print(
        f"""
  Portal            {run["url"]}
    tenant owner    {owner["email"]}   {owner["password"]}
  Back office       {run["url"]}/admin/
    support         {support["email"]}   {support["password"]}
  API               {run["url"]}/api/docs
  Local AWS         {run["aws_endpoint"]}
    customer        account {account}
                    AWS_ACCESS_KEY_ID={keys["access_key_id"]}
                    AWS_SECRET_ACCESS_KEY={keys["secret_access_key"]}
  Kept in           {stack.var_dir} (run.json has all of this)

  EXTERNAL_ID_PROBE_GAP is {gap} s here: the local AWS propagates at once. Ctrl-C stops everything.
""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
