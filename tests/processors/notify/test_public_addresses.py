"""Which addresses count as public, and that a host is looked up once."""

from __future__ import annotations

import asyncio

import pytest
from tests.processors.notify.connections import Connections

from async_processor.errors import PermanentError, ProviderError
from async_processor.processors.public_addresses import is_public, look_up, look_up_blocking

INSIDE = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "loopback, mapped to IPv6": ["::ffff:127.0.0.1", "::ffff:7f00:1"],
    "this network": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104 - nothing listens there
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1"],
    "link-local, where clouds tell their secrets": ["169.254.169.254", "fe80::1", "fe80::1%eth0"],
    "shared by a carrier's customers": ["100.64.0.1", "100.127.255.255"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1"],
    "6to4 and its relays": ["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001:0:7f00:1::1"],
    "IPv4-compatible and site-local, both long given up": ["::127.0.0.1", "::808:808", "fec0::1"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved and broadcast": ["240.0.0.1", "255.255.255.255"],
    "benchmarks and documentation": ["198.18.0.1", "192.0.2.1", "2001:db8::1"],
    "no address in full": ["127.1", "2130706433", "0x7f000001", "017700000001", "", "localhost", "1.2.3.4.5"],
}
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
]
# What the C library takes for 127.0.0.1, and for 8.8.8.8.
DISGUISED = ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0x7f.1", "134744072", "127.0.0.1.", "a.b.0x10", "."]


@pytest.mark.parametrize("address", [item for group in INSIDE.values() for item in group])
def test_an_address_inside_is_not_public(address: str):  # B15
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_on_the_open_internet_is(address: str):
    assert is_public(address)


@pytest.mark.parametrize("host", DISGUISED)
@pytest.mark.parametrize("allow_private", [True, False])
async def test_an_address_in_disguise_is_refused_without_being_looked_up(
    connections: Connections, host: str, allow_private: bool
):  # B15
    connections.resolve(host, ["127.0.0.1"])

    with pytest.raises(PermanentError, match="neither a name nor an IP address"):
        await look_up(host, 80, allow_private=allow_private)

    assert connections.asked == []


async def test_a_name_with_one_inner_address_among_public_ones_is_refused(connections: Connections):  # B15
    connections.resolve("mixed.test", ["8.8.8.8", "10.0.0.1"])

    with pytest.raises(PermanentError, match="allow_private_networks"):
        await look_up("mixed.test", 80, allow_private=False)

    assert await look_up("mixed.test", 80, allow_private=True) == "8.8.8.8"


async def test_a_name_is_looked_up_once(connections: Connections):  # B15
    connections.resolve("rebinding.test", ["8.8.8.8"], ["127.0.0.1"])

    assert await look_up("rebinding.test", 80, allow_private=False) == "8.8.8.8"
    assert connections.asked == ["rebinding.test"]


async def test_threads_get_the_same_answers(connections: Connections):
    connections.resolve("inside.test", ["::ffff:10.0.0.1"])
    connections.resolve("outside.test", ["2606:4700:4700::1111"])

    with pytest.raises(PermanentError, match="not a public one"):
        await asyncio.to_thread(look_up_blocking, "inside.test", 80, allow_private=False)
    found = await asyncio.to_thread(look_up_blocking, "outside.test", 80, allow_private=False)
    assert found == "2606:4700:4700::1111"


async def test_a_name_that_cannot_be_looked_up_is_worth_another_attempt_and_not_repeated(connections: Connections):
    connections.resolve("nobody.test", [])

    for ask in (look_up("nobody.test", 80, allow_private=False), look_up("n" * 300 + ".test", 80, allow_private=False)):
        with pytest.raises((ProviderError, PermanentError)) as caught:
            await ask
        assert "nobody" not in str(caught.value)
        assert "nnn" not in str(caught.value)
