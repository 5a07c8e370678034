"""Where this process may connect to for others: an address looked up once, and public unless settings allow more.

A name is looked up once, and the connection goes to the address that was checked: whoever looks a name up twice can be
given a public address to check and a private one to connect to. ``ipaddress.is_global`` alone will not do: it takes
multicast, and tunnels that end inside (NAT64, 6to4), for public.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence

from ..errors import PermanentError, ProviderError

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# Addresses that stand for another one, which may be anywhere: 6to4 and its relays, Teredo.
_TUNNELS = tuple(map(ipaddress.ip_network, ("2002::/16", "2001::/32", "192.88.99.0/24")))
# 2130706433, 0x7f000001, 127.1: the C library reads them as IPv4 addresses, whoever reads them in a setting does not.
_NUMERIC_LABEL = re.compile(r"(?:\d+|0x[0-9a-f]*)", re.IGNORECASE)


def is_public(address: str) -> bool:
    """Whether an IP address, written in full, is that of one machine on the open internet."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        # NAT64 (64:ff9b::/96) and everything else with a special meaning lies outside of this block.
        if found.scope_id is not None or found not in _GLOBAL_UNICAST:
            return False
    if found.is_multicast or any(found in network for network in _TUNNELS):
        return False
    return found.is_global


async def look_up(host: str, port: int, *, allow_private: bool) -> str:
    """The address to connect to for a host.

    Args:
        host: a name, or an IP address in its usual form.
        port: where the connection will go.
        allow_private: whether it may be any address, this machine's own included.

    Raises:
        PermanentError: the host is written in an unusual form, or one of its addresses is not public.
        ProviderError: the name cannot be looked up now.
    """
    if _is_literal(host):
        return _choose([host], allow_private=allow_private)
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a part of the name is too long for any
        raise _unknown() from None
    return _choose([str(answer[4][0]) for answer in answers], allow_private=allow_private)


def look_up_blocking(host: str, port: int, *, allow_private: bool) -> str:
    """``look_up`` for threads."""
    if _is_literal(host):
        return _choose([host], allow_private=allow_private)
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a part of the name is too long for any
        raise _unknown() from None
    return _choose([str(answer[4][0]) for answer in answers], allow_private=allow_private)


def _is_literal(host: str) -> bool:
    """Whether a host is an IP address rather than a name; what is neither is refused."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        if not last or _NUMERIC_LABEL.fullmatch(last):
            raise PermanentError(
                "the host is neither a name nor an IP address in full; write it as 'example.org' or '192.0.2.1'"
            ) from None
        return False
    return True


def _choose(addresses: Sequence[str], *, allow_private: bool) -> str:
    if not addresses:
        raise _unknown()
    # One inner address among public ones is no accident, so all must pass though only the first is used.
    if not allow_private and not all(map(is_public, addresses)):
        raise PermanentError(
            "the host has an address that is not a public one, and nothing was sent; to reach machines of your own "
            "network, set NotifyConfig.allow_private_networks"
        )
    return addresses[0]


def _unknown() -> ProviderError:
    # Not the name: a channel's address may be a secret.
    return ProviderError("the host's name cannot be looked up now")
