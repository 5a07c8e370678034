"""Where a server listens, as it is typed."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ..errors import ConfigurationError

LOOPBACK = "127.0.0.1"


@dataclass(slots=True, frozen=True)
class Address:
    """An address to listen on; port 0 lets the system choose one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """``PORT`` on loopback, or ``HOST:PORT``; an IPv6 address in brackets.

        Raises:
            ConfigurationError: it is neither. ``:PORT`` is none, because elsewhere it means all addresses.
        """
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        right = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65_535
        if not right or (colon and not host) or (":" in host and not bracketed):
            raise ConfigurationError(
                f"name the address as PORT or HOST:PORT, an IPv6 address in brackets, not {text!r}"
            )
        return cls(host.strip("[]") if colon else LOOPBACK, int(port))

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def url(self, port: int) -> str:
        """Where it is to be found, with the port that it really has."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{port}"
