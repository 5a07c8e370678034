"""Who may see more than whether the process lives, and where a server listens."""

from __future__ import annotations

import pytest
from tests.runtime.support import running_processor
from tests.server.http_kit import get, served

from async_processor import AdvancedAsyncProcessor, ConfigurationError
from async_processor.server import create_app
from async_processor.server.access import LOOPBACK_NAMES
from async_processor.server.address import Address

TOKEN = "correct horse battery staple"
GUARDED = ("/health", "/events")
OPEN = ("/livez", "/healthz", "/readyz")


async def test_without_the_token_there_are_only_yes_and_no():  # H2, H3
    async with running_processor() as processor, served(processor, token=TOKEN) as port:
        wrong = [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": f"Bearer {TOKEN[:-1]}"},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": TOKEN},
            {"Authorization": "Bearer \xe9"},
            {"X-Token": TOKEN},
        ]
        for path in GUARDED:
            for headers in wrong:
                answer = await get(port, path, headers)
                assert (answer.status, answer.body, answer.headers["www-authenticate"]) == (401, b"", "Bearer"), headers
            assert (await get(port, f"{path}?token={TOKEN.replace(' ', '%20')}")).status == 401
            assert (await get(port, path, {"Authorization": f"bearer {TOKEN}"}, method="HEAD")).status == 200
        assert [(await get(port, path)).status for path in OPEN] == [200, 200, 200]


async def test_a_page_in_a_browser_cannot_look_at_a_server_on_the_same_machine():  # H4
    async with running_processor() as processor, served(processor, hosts=LOOPBACK_NAMES) as port:
        own = f"localhost:{port}"
        for path in GUARDED:
            for host in (
                "evil.example",
                f"evil.example:{port}",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
                "",
            ):
                assert (await get(port, path, {"Host": host})).status == 403, host
            for origin in ("http://evil.example", "null", f"http://localhost:{port + 1}", "http://[", "file://"):
                assert (await get(port, path, {"Host": own, "Origin": origin})).status == 403, origin
            for host in (own, "LOCALHOST", f"127.0.0.1:{port}", f"[::1]:{port}"):
                right = await get(port, path, {"Host": host, "Origin": f"http://{host}"}, method="HEAD")
                assert right.status == 200, host
                assert not [name for name in right.headers if name.startswith("access-control")]
        # A probe may come by any name: it learns nothing but whether to go on.
        assert [(await get(port, path, {"Host": "10.1.2.3"})).status for path in OPEN] == [200, 200, 200]


def test_a_token_that_can_be_guessed_is_refused_and_not_repeated():
    with pytest.raises(ConfigurationError, match="at least 16 characters") as caught:
        create_app(AdvancedAsyncProcessor(), token="hunter2")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "host", "port", "url", "local"),
    [
        ("8000", "127.0.0.1", 8000, "http://127.0.0.1:8000", True),
        ("0", "127.0.0.1", 0, "http://127.0.0.1:0", True),
        ("localhost:80", "localhost", 80, "http://localhost:80", True),
        ("127.0.0.2:80", "127.0.0.2", 80, "http://127.0.0.2:80", True),
        ("[::1]:8000", "::1", 8000, "http://[::1]:8000", True),
        ("0.0.0.0:8000", "0.0.0.0", 8000, "http://0.0.0.0:8000", False),  # noqa: S104 - as typed
        ("[::]:8000", "::", 8000, "http://[::]:8000", False),
        ("10.1.2.3:65535", "10.1.2.3", 65535, "http://10.1.2.3:65535", False),
        ("example.org:1", "example.org", 1, "http://example.org:1", False),
    ],
)
def test_an_address_is_a_port_on_loopback_or_names_its_host(text: str, host: str, port: int, url: str, local: bool):
    address = Address.parse(text)

    assert (address.host, address.port, address.url(address.port), address.local) == (host, port, url, local)


@pytest.mark.parametrize(
    "text",
    ["", ":8000", "localhost", "localhost:", "::1", "::1:8000", "65536", "-1", "1e3", "²", "a:b:80", "localhost:8 0"],
)
def test_what_is_no_address_or_may_mean_all_of_them_is_refused(text: str):  # H1
    with pytest.raises(ConfigurationError, match="PORT or HOST:PORT"):
        Address.parse(text)
