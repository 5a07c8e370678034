"""Text to speech with the programs there are, and with programs that misbehave."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest
from tests.leaks import child_processes
from tests.processors.recordings import CONFIG

from async_processor.config import SpeechConfig
from async_processor.errors import InvalidPayloadError, ProviderError
from async_processor.processors.audio import read_recording
from async_processor.processors.providers.espeak_tts import ESpeak
from async_processor.processors.providers.flite_tts import Flite
from async_processor.processors.providers.pocketsphinx_stt import recognise
from async_processor.processors.providers.speech_command import speak, speakable
from async_processor.processors.speech_programs import PROGRAMS, InstalledProgram
from async_processor.processors.speech_synthesis import Speaker
from async_processor.processors.synthesis import MAX_CHARS
from async_processor.testing.provider_contracts import synthesizer_checks

ENGINES = [Flite(), ESpeak()]
VOICES = [(engine, voice) for engine in ENGINES for voice in engine.voices]


class Missing(Flite):
    """A program that says it is there when it is asked, and is gone when it is to speak."""

    def available(self):
        return True

    async def speak(self, text, voice):
        return await speak(["/nonexistent/program"], text, provider="missing")


def need(engine):
    if not engine.available():
        pytest.skip(f"needs {engine.name}: apt-get install {engine.name}")


async def synthesize(text, voice=None):
    return await Speaker(SpeechConfig(synthesizer_voice=voice)).speak(text)


@pytest.mark.parametrize(("engine", "voice"), VOICES, ids=[voice for _, voice in VOICES])
async def test_every_voice_gives_a_wav_file_that_can_be_decoded(engine, voice):
    need(engine)

    speech = await synthesize("Hello little friend. Shall we play?", voice=voice)

    recording = read_recording({"audio_data": speech.wav}, CONFIG)
    assert (speech.provider, speech.voice, speech.model, speech.offline) == (engine.name, voice, None, True)
    assert recording.duration == pytest.approx(speech.duration, abs=0.001)
    assert recording.sample_rate == speech.sample_rate
    assert 1.0 < speech.duration < 5.0
    assert float(abs(recording.samples).max()) > 0.05


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_every_program_speaks_on_uvloop_too(engine):
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    need(engine)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        speech = runner.run(synthesize("Hello little friend.", voice=engine.voices[0]))

    assert speech.provider == engine.name
    assert speech.duration > 0.5


async def test_what_flite_says_the_recogniser_hears():
    need(ENGINES[0])

    speech = await synthesize("shall we play a game together", voice="rms")

    samples = read_recording({"audio_data": speech.wav}, CONFIG).samples
    assert " ".join(word.text for word in recognise(samples)) == "shall we play a game together"


async def test_the_first_program_that_is_installed_speaks_with_its_first_voice():
    installed = [engine for engine in PROGRAMS if engine.available()]
    if not installed:
        pytest.skip("needs flite or espeak-ng: apt-get install flite")

    speech = await synthesize("Hello")

    assert (speech.provider, speech.voice) == (installed[0].name, installed[0].voices[0])


async def test_without_anything_to_say_nothing_is_said():
    for text in ("", "  \n", "😀", "...", "\x00\x07", "你好"):
        assert await synthesize(text) is None


async def test_text_that_is_too_long_is_refused():
    with pytest.raises(InvalidPayloadError, match="at most 1000") as caught:
        await synthesize("a" * (MAX_CHARS + 1))
    assert caught.value.field == "text"


@pytest.mark.parametrize("text", ["-o /tmp/x", "--help", "$(touch /tmp/x)", "`id`", "'; id; '", "<speak>hi</speak>"])
async def test_text_is_never_taken_for_options_or_commands(text):
    for engine in ENGINES:
        need(engine)
        assert (await synthesize(text, voice=engine.voices[0])).duration > 0.2


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("It’s “fine” — really…", 'It\'s "fine" , really.'),
        ("café 😀\n*wow*", "cafe wow"),
        ("a\x00b_c|d<e>", "a b c d e"),
        ("你好", ""),
    ],
)
def test_text_is_brought_to_what_can_be_spoken(text, spoken):
    assert speakable(text) == spoken


async def run(code, **options):
    return await speak([sys.executable, "-c", code], "hello", provider="fake", **options)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
        ("pass", "no sound"),
        ("print('x' * 100)", "something else"),
        ("import sys; sys.stdin.close(); print('short')", "no sound"),
    ],
)
async def test_a_program_that_fails_is_a_provider_error(code, says):
    with pytest.raises(ProviderError, match=says):
        await run(code)
    assert child_processes() == []


async def test_a_program_that_is_not_there_is_a_provider_error():
    with pytest.raises(ProviderError, match="could not be started"):
        await speak(["/nonexistent/program"], "hello", provider="fake")


async def test_a_program_that_hangs_is_killed_at_the_deadline():
    start = time.monotonic()

    with pytest.raises(ProviderError, match=r"longer than 0\.3 s"):
        await run("import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(60)", deadline_s=0.3)

    assert time.monotonic() - start < 10.0
    assert child_processes() == []


async def test_a_cancelled_speech_leaves_no_process():
    # B22
    speaking = asyncio.create_task(run("import time; time.sleep(60)"))
    async with asyncio.timeout(30):
        while not child_processes():  # noqa: ASYNC110 - a real process starts in its own time
            await asyncio.sleep(0.01)

    speaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await speaking

    assert child_processes() == []


@pytest.mark.parametrize("name", [check.name for check in synthesizer_checks(InstalledProgram)])
async def test_an_installed_program_keeps_the_contract_of_a_synthesiser(name):
    need(ENGINES[0])
    missing = [Missing()]
    checks = synthesizer_checks(InstalledProgram, broken=lambda: InstalledProgram(missing))

    await {check.name: check for check in checks}[name]()

    assert child_processes() == []
