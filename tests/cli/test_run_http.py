"""``async-processor run --http`` as a process of its own: what it serves, and that no client holds up its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.cli.running import PROGRAM, SLACK_S, Launch, Program, ended, run

CLIENTS = 20


def listening(program: Program) -> list[tuple[str, int]]:
    """The addresses on which a program listens, once there are any."""

    def found() -> list[tuple[str, int]]:
        connections = psutil.Process(program.process.pid).net_connections("tcp")
        return [tuple(item.laddr) for item in connections if item.status == psutil.CONN_LISTEN]  # type: ignore[misc]

    program.until(lambda: found() != [])
    return found()


def asked(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and body, by a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextlib.contextmanager
def clients(port: int, path: str, *, until: bytes, receive_bytes: int | None = None) -> Iterator[list[socket.socket]]:
    """Connections that have each asked for ``path`` once, have got so far in the answer, and stay open."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.socket())
            if receive_bytes is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            client.settimeout(10)
            client.connect(("127.0.0.1", port))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            got = b""
            while until not in got:
                got += (chunk := client.recv(1_000))
                assert chunk, got
            found.append(client)
        yield found


def rest(client: socket.socket) -> bytes:
    """All up to the end of a connection."""
    got = b""
    while chunk := client.recv(100_000):
        got += chunk
    return got


def test_open_streams_and_idle_connections_do_not_hold_up_its_end_and_it_is_unready_first(
    launch: Launch, tmp_path: Path
):  # D10
    program = launch("holding", "--http", "0", "--timeout", "20")
    ((_, port),) = listening(program)
    program.until(lambda: program.lines("ledger") != [])
    with (
        clients(port, "/events", until=b"event: hello") as streams,
        clients(port, "/livez", until=b"\r\n\r\nok\n") as idle,
    ):
        assert asked(port, "/readyz") == (200, b"ok\n")
        program.process.terminate()
        # The task goes on. As long as it does, whoever asks gets an answer, over a new connection too.
        program.until(lambda: asked(port, "/readyz")[0] == 503)
        assert asked(port, "/livez") == (200, b"ok\n")
        assert json.loads(asked(port, "/health")[1])["checks"]["running"][0]["status"] == "fail"
        assert program.process.poll() is None

        (tmp_path / "let-go").touch()
        code, said, seconds = ended(program)

        assert seconds <= 1.0 + SLACK_S
        assert code == 143
        assert said.splitlines()[-1].startswith("async-processor run: stopped by SIGTERM; 0 tasks stay")
        # One line about where it listens, and one about the end: no client is worth a complaint.
        assert len(said.splitlines()) == 2
        told = [rest(client) for client in streams]
        assert all(b"event: task_finished" in item and b"event: end" in item for item in told)
        assert [rest(client) for client in idle] == [b""] * CLIENTS
        with pytest.raises(ConnectionRefusedError):
            asked(port, "/livez")
    assert program.lines("ledger")[-1].startswith("left ")


def test_clients_that_read_nothing_do_not_hold_up_its_end(launch: Launch):  # D10
    program = launch("busy", "--http", "0", "--timeout", "0.5", "--queue-size", "50")
    ((_, port),) = listening(program)
    with clients(port, "/events", until=b"event: hello", receive_bytes=4_096):
        before = len(program.lines("accepted"))
        program.until(lambda: len(program.lines("accepted")) > before + 500)
        program.process.terminate()
        code, said, seconds = ended(program)

    assert code == 143
    assert "in the store for the next start" in said
    assert seconds <= 0.5 + 1.0 + SLACK_S


def test_tasks_that_do_not_end_in_time_do_not_keep_it_listening(launch: Launch):  # D10
    program = launch("stubborn", "--http", "0", "--timeout", "0.2")
    ((_, port),) = listening(program)
    program.until(lambda: len(program.lines("ledger")) >= 3)
    with clients(port, "/events", until=b"event: hello") as streams:
        program.process.terminate()
        code, said, seconds = ended(program)

        assert code == 143
        assert "3 tasks stay in the store" in said
        assert seconds <= 0.2 + 1.0 + SLACK_S
        assert all(b"event: end" in rest(client) for client in streams)


def test_it_answers_while_it_works_and_ends_by_itself(launch: Launch, tmp_path: Path):
    program = launch("holding", "--http", "0", "--until-idle")
    ((_, port),) = listening(program)
    program.until(lambda: asked(port, "/readyz")[0] == 200)
    (tmp_path / "let-go").touch()
    code, said, _ = ended(program)

    assert (code, said) == (0, f"async-processor run: health and events on http://127.0.0.1:{port}\n")


# ---- where it listens


def test_it_listens_nowhere_unless_asked_and_then_on_loopback_only(launch: Launch):  # H1
    program = launch("holding", "--timeout", "0")
    program.until(lambda: program.lines("ledger") != [])
    assert [
        item for item in psutil.Process(program.process.pid).net_connections("tcp") if item.status == psutil.CONN_LISTEN
    ] == []
    program.process.terminate()
    assert ended(program)[0] == 143

    program = launch("holding", "--http", "0", "--timeout", "0")
    assert [host for host, _ in listening(program)] == ["127.0.0.1"]


def test_where_others_can_reach_it_it_wants_a_token(launch: Launch, monkeypatch: pytest.MonkeyPatch):  # H1
    refused = run(f"{PROGRAM}:few", "--http", "0.0.0.0:0")
    monkeypatch.setenv("ASYNC_PROCESSOR_HTTP_TOKEN", "too short")
    short = run(f"{PROGRAM}:few", "--http", "0.0.0.0:0")

    assert (refused.returncode, short.returncode) == (2, 2)
    assert "set ASYNC_PROCESSOR_HTTP_TOKEN" in refused.stderr
    assert "16 characters" in short.stderr
    assert "Traceback" not in refused.stderr + short.stderr

    monkeypatch.setenv("ASYNC_PROCESSOR_HTTP_TOKEN", "a secret of many letters")
    program = launch("holding", "--http", "127.0.0.1:0", "--timeout", "0")
    ((_, port),) = listening(program)
    assert asked(port, "/livez")[0] == 200
    assert asked(port, "/health")[0] == 401
    program.until(lambda: asked(port, "/health", Authorization="Bearer a secret of many letters")[0] == 200)


@pytest.mark.parametrize("address", [":0", "nowhere", "127.0.0.1:99999", "127.0.0.1:{taken}", "nowhere.invalid:0"])
def test_an_address_that_cannot_be_used_is_a_wrong_call(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASYNC_PROCESSOR_HTTP_TOKEN", "a secret of many letters")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run(f"{PROGRAM}:few", "--http", address.format(taken=taken.getsockname()[1]))

    assert ran.returncode == 2
    assert "HOST:PORT" in ran.stderr or "cannot listen on" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_second_signal_ends_it_at_once_also_while_it_serves(launch: Launch):  # D8
    program = launch("stubborn", "--http", "0", "--timeout", "60")
    ((_, port),) = listening(program)
    program.until(lambda: len(program.lines("ledger")) >= 3)
    with clients(port, "/events", until=b"event: hello"):
        program.process.terminate()
        program.until(lambda: asked(port, "/readyz")[0] == 503)
        time.sleep(0.1)  # Two signals at one moment are one to the kernel.
        program.process.terminate()
        code, said, seconds = ended(program)

    assert (code, said.splitlines()[1]) == (143, "async-processor run: ended at once")
    assert seconds < SLACK_S
