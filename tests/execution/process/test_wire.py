"""Frames survive whatever a stream does to them, and arenas give back what was put in."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_processor.execution import process_wire as wire
from async_processor.execution.process_arena import MAPPED_BYTES, Arena, after


@given(
    bodies=st.lists(st.tuples(st.sampled_from([wire.BEGAN, wire.PROGRESS, wire.RETURNED]), st.binary(), st.binary())),
    cuts=st.lists(st.integers(1, 50)),
)
def test_frames_arrive_as_sent_however_the_stream_is_cut(bodies, cuts):
    stream = b"".join(wire.head(kind, notes=notes, size=len(body)) + body for kind, notes, body in bodies)
    reader, frames, at = wire.FrameReader(), [], 0
    for step in [*cuts, len(stream) + 1]:
        frames += reader.feed(stream[at : at + step])
        at += step

    assert [(frame.kind, frame.notes, frame.body) for frame in frames] == bodies


def test_a_frame_whose_body_lies_in_the_arena_has_none_in_the_stream():
    reader = wire.FrameReader()
    stream = wire.head(wire.RETURNED, size=10**9, in_arena=True) + wire.head(wire.BEGAN)

    frames = reader.feed(stream)

    assert [(frame.kind, frame.in_arena, frame.size) for frame in frames] == [
        (wire.RETURNED, True, 10**9),
        (wire.BEGAN, False, 0),
    ]


@pytest.mark.parametrize("garbage", [b"\x00" * 64, b"\xff" * 64, b"Traceback (most recent call last):\n"])
def test_what_is_no_frame_is_refused(garbage: bytes):
    with pytest.raises(wire.WireError):
        wire.FrameReader().feed(garbage)


@given(parts=st.lists(st.binary(), min_size=1), written=st.integers(0, 500))
def test_what_is_left_after_a_partial_write_is_the_rest(parts, written):
    whole = b"".join(parts)
    written = min(written, len(whole))

    assert b"".join(after([memoryview(part) for part in parts], written)) == whole[written:]


def test_a_worker_sends_more_than_the_socket_holds():
    here, there = socket.socketpair()
    with here, there:
        body = os.urandom(3_000_000)
        reader, frames = wire.FrameReader(), []
        pid_sends = wire.WorkerChannel(there.fileno(), None, None)
        import threading

        sender = threading.Thread(target=pid_sends.send, args=(wire.RETURNED, b"", [body], len(body)))
        sender.start()
        while not frames:
            frames = reader.feed(here.recv(65536))
        sender.join()

    assert frames[0].body == body


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena.create()
    if arena is None:
        pytest.skip("this system has no memfd")
    yield arena
    arena.close()


def put(arena: Arena, value: object) -> int:
    data = pickle.dumps(value)
    parts = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
    arena.write(parts, len(data))
    return len(data)


@pytest.mark.parametrize("size", [0, 100, MAPPED_BYTES - 100, MAPPED_BYTES + 1, 3 * MAPPED_BYTES])
def test_an_arena_gives_back_what_was_put_in_again_and_again(arena: Arena, size: int):
    for value in ([os.urandom(size)], "short", {"bytes": bytes(size)}):
        assert arena.load(put(arena, value)) == value


def test_an_arena_gives_back_memory_after_a_large_message(arena: Arena):
    size = put(arena, bytes(4 * MAPPED_BYTES))
    assert os.fstat(arena.fileno()).st_blocks * 512 >= 4 * MAPPED_BYTES

    arena.trim(size)

    assert os.fstat(arena.fileno()).st_blocks * 512 <= MAPPED_BYTES
    assert arena.load(put(arena, "still usable")) == "still usable"
