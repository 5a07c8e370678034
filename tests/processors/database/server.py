"""A real PostgreSQL: a cluster in a temporary directory, on loopback, that ends with whoever made it.

For the tests, and for the benchmarks with settings of their own.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER, PASSWORD, DATABASE = "toys", "Canary-pass-0123", "toys"
# As Debian's package postgresql has them, outside of PATH.
_DEBIAN = Path("/usr/lib/postgresql")
# No test looks at what is left after a power cut.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
    "deadlock_timeout": "50ms",
}


class NoServerError(Exception):
    """It cannot be had here; says why."""


def programs() -> Path:
    """The directory of ``initdb`` and ``pg_ctl``, of the newest version there is."""
    newest = sorted(_DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    for folder in newest:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    found = shutil.which("pg_ctl")
    if found is None or shutil.which("initdb") is None:
        raise NoServerError("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return Path(found).resolve().parent


def _not_root() -> dict[str, Any]:
    """Whom to run it as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise NoServerError("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running server."""

    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, *, port: int | None = None, password: str = PASSWORD, database: str = DATABASE) -> str:
        """The URL of a connection; through a proxy with its port."""
        return f"postgresql://{USER}:{password}@{self.host}:{port or self.port}/{database}"


@contextmanager
def running(settings: Mapping[str, str] = _SETTINGS) -> Iterator[Server]:
    """Make a cluster, start it, and remove all of it afterwards.

    Args:
        settings: of the server; those of the tests unless given.
    """
    folder, account = programs(), _not_root()
    home = Path(tempfile.mkdtemp(prefix="async-processor-postgresql-"))
    data, port = home / "data", _free_port()
    if account:
        os.chown(home, account["user"], account["group"])
    (home / "password").write_text(PASSWORD, encoding="utf-8")
    (home / "password").chmod(0o644)

    def call(program: str, *arguments: str) -> None:
        command = [str(folder / program), "-D", str(data), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, cwd=home, **account)
        if ran.returncode:
            raise NoServerError(f"{program} failed: {ran.stderr or ran.stdout}")

    try:
        call("initdb", "-U", USER, "-A", "scram-sha-256", f"--pwfile={home}/password", "-E", "UTF8", "--no-sync",
             "--no-locale")  # fmt: skip
        given = " ".join(f"-c {name}={value}" for name, value in settings.items())
        # Not a child of this process, so tests that look for children left behind do not see what it starts.
        call("pg_ctl", "-w", "-l", f"{home}/log", "-o", f"-p {port} -k {home} {given}", "start")
        try:
            yield Server(port)
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)
