"""The command as users run it, on a real recording."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import wave
from pathlib import Path

import psutil
import pytest
from tests.source_code import ROOT

from async_processor.storage.sqlite_view import StoreView

COMMAND = Path(sys.executable).parent / "async-processor"
HELLO = ROOT / "examples" / "audio" / "hello_teddy.wav"
BARE_PATH = "/nowhere"

# Nothing of the caller's may reach a hosted model, nor change a setting.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("ASYNC_PROCESSOR_") and not name.endswith(("_API_KEY", "_BASE_URL")) and name != "NO_COLOR"
}


def talk(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "talk", *arguments],
        env=ENVIRONMENT | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The sentence of the project, talked to once."""
    cwd = tmp_path_factory.mktemp("talk")
    return talk(HELLO, cwd=cwd), cwd


@pytest.fixture
def long_recording(tmp_path: Path) -> Path:
    """Minutes of speech: more than can be transcribed while a test looks on."""
    path = tmp_path / "long.wav"
    with wave.open(str(HELLO), "rb") as source, wave.open(str(path), "wb") as copy:
        copy.setparams(source.getparams())
        sound = source.readframes(source.getnframes())
        for _ in range(int(300 / (source.getnframes() / source.getframerate()))):
            copy.writeframes(sound)
    return path


def test_talk_tells_what_was_heard_felt_and_answered(answered):
    ran, _ = answered

    assert ran.returncode == 0, ran.stderr
    heard, felt, said, spoken, *_ = ran.stdout.splitlines()
    assert "teddy" in heard
    assert "pocketsphinx" in heard
    assert felt.startswith("felt ")
    assert "scripted" in said
    assert spoken.startswith("spoken ")


def test_talk_gives_the_wait_and_the_run_of_each_stage(answered):
    ran, _ = answered

    stages = {line.split()[0]: line.split()[1:] for line in ran.stdout.splitlines()[6:]}
    assert list(stages) == ["transcription", "emotion", "reply", "speech", "all"]
    for name in ("transcription", "emotion", "reply", "speech"):
        wait, _, run, _, where = stages[name]
        assert float(wait) >= 0
        assert float(run) > 0
        assert where.rpartition("-")[2].isdigit()
    # The reply waited for both of the stages before it.
    assert float(stages["reply"][0]) >= float(stages["transcription"][2])
    assert float(stages["reply"][0]) >= float(stages["emotion"][2])


def test_talk_without_a_terminal_reports_its_progress_in_plain_lines(answered):
    ran, _ = answered

    assert "transcription: started in slot process-" in ran.stderr
    assert "reply: completed after running " in ran.stderr
    assert "\x1b" not in ran.stderr + ran.stdout


@pytest.mark.skipif(not any((Path(item) / "flite").exists() for item in os.get_exec_path()), reason="flite is missing")
def test_talk_writes_the_spoken_answer_to_a_wav_file(answered):
    _, cwd = answered

    with wave.open(str(cwd / "out" / "answer.wav"), "rb") as sound:
        assert sound.getnframes() / sound.getframerate() > 0.5


def test_without_a_synthesiser_the_answer_is_text_and_that_is_no_failure(tmp_path: Path):
    ran = talk(HELLO, cwd=tmp_path, PATH=BARE_PATH)

    assert ran.returncode == 0, ran.stderr
    assert "not spoken: no offline synthesiser is installed" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_json_is_one_object_on_standard_output_and_nothing_else(tmp_path: Path):
    ran = talk(HELLO, "--json", "--answer", tmp_path / "deep" / "answer.wav", cwd=tmp_path)

    assert (ran.returncode, ran.stderr) == (0, "")
    plain = json.loads(ran.stdout)
    assert plain["ok"] is True
    assert "teddy" in plain["heard"]
    assert set(plain["stages"]) == {"transcription", "emotion", "reply", "speech"}


def test_a_recording_that_is_none_fails_with_a_message_and_no_traceback(tmp_path: Path):
    recording = tmp_path / "noise.wav"
    recording.write_bytes(b"RIFF" + bytes(1_000))

    ran = talk(recording, cwd=tmp_path)

    assert ran.returncode == 1
    assert ran.stdout.startswith("heard         (failed: ")
    assert "Traceback" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"\0\0\0\x20ftypM4A ", "is m4a, which cannot be decoded here; send wav"), (b"", "is empty; send the bytes")],
)
def test_a_file_that_is_of_no_use_as_a_recording_is_a_wrong_call(data: bytes, says: str, tmp_path: Path):
    recording = tmp_path / "sound.m4a"
    recording.write_bytes(data)

    ran = talk(recording, cwd=tmp_path)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].startswith(f"async-processor talk: {recording} cannot be used: task ")
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", ["missing.wav", "."])
def test_a_file_that_cannot_be_read_is_a_wrong_call(name: str, tmp_path: Path):
    ran = talk(name, cwd=tmp_path)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"async-processor talk: cannot read {name}: ")


def test_a_file_that_is_too_large_is_refused_before_anything_runs(tmp_path: Path):
    ran = talk("/dev/zero", cwd=tmp_path, ASYNC_PROCESSOR_SPEECH_MAX_AUDIO_BYTES="1000")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "larger than 1000 bytes" in ran.stderr


def test_with_a_store_the_talk_is_kept_but_not_the_voice(tmp_path: Path):
    ran = talk(HELLO, "--store", "sqlite:///tasks.db", "--durability", "process", cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert StoreView(str(tmp_path / "tasks.db")).counts().of_status("completed") >= 3
    voice = HELLO.read_bytes()[10_000:10_064]
    kept = [path.read_bytes() for path in tmp_path.rglob("tasks.db*") if path.is_file()]
    assert any(b"teddy" in data for data in kept)
    assert not any(voice in data for data in kept)


def test_a_store_that_cannot_be_is_a_wrong_call(tmp_path: Path):
    ran = talk(HELLO, "--store", "tasks.db", cwd=tmp_path)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "sqlite:///FILE" in ran.stderr


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path):
    ran = talk(HELLO, cwd=tmp_path, ASYNC_PROCESSOR_MAX_RESULTS="many")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "ASYNC_PROCESSOR_MAX_RESULTS" in ran.stderr


def test_an_answer_that_cannot_be_written_is_a_failure_that_still_shows_the_answer(tmp_path: Path):
    ran = talk(HELLO, "--answer", "/dev/null/answer.wav", cwd=tmp_path)

    if "not spoken" in ran.stdout:
        pytest.skip("no synthesiser on this machine, so there was nothing to write")
    assert ran.returncode == 1
    assert "cannot write /dev/null/answer.wav" in ran.stderr
    assert 'answered      "' in ran.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_workers(number: signal.Signals, code: int, long_recording: Path, tmp_path: Path):
    with subprocess.Popen(
        [COMMAND, "talk", long_recording], env=ENVIRONMENT, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as ran:
        assert ran.stderr is not None
        for line in ran.stderr:
            if "%" in line:  # a worker process is at work
                break
        family = psutil.Process(ran.pid).children(recursive=True)
        ran.send_signal(number)
        rest = ran.stderr.read()
        assert ran.wait(timeout=30) == code

    assert f"stopped by {number.name}" in rest
    assert "Traceback" not in rest
    assert family
    assert psutil.wait_procs(family, timeout=10)[1] == []


def on_terminal(*arguments: str | Path, cwd: Path, **environment: str) -> tuple[int, str]:
    """Run the command on a terminal of its own; exit code, and everything the terminal was sent."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    ran = subprocess.Popen(
        [COMMAND, "talk", *arguments],
        env=ENVIRONMENT | {"TERM": "xterm-256color"} | environment,
        cwd=cwd,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    received = b""
    deadline = time.monotonic() + 50
    while time.monotonic() < deadline:
        if select.select([master], [], [], 1.0)[0]:
            try:
                received += os.read(master, 65_536)
            except OSError:  # the last one closed the terminal
                break
    os.close(master)
    return ran.wait(timeout=10), received.decode("utf-8", "replace")


def test_on_a_terminal_the_stages_are_drawn_live(tmp_path: Path):
    code, screen = on_terminal(HELLO, cwd=tmp_path)

    assert code == 0, screen
    assert "\x1b[" in screen
    assert "running in slot process-" in screen
    assert 'answered      "' in screen


def test_no_color_asks_for_plain_lines_on_a_terminal_too(tmp_path: Path):
    code, screen = on_terminal(HELLO, cwd=tmp_path, NO_COLOR="1")

    assert code == 0, screen
    assert "\x1b" not in screen
    assert "transcription: started in slot process-" in screen
