"""Speech by eSpeak NG (GPL-3, run as a program of its own), where it is installed: ``apt-get install espeak-ng``."""

from __future__ import annotations

import shutil

from .speech_command import speak

NAME = "espeak-ng"
VOICES = ("en-us", "en-us+f3", "en-us+m3", "en-gb")
# Words per minute; the default of 175 is hard to follow for small children.
_WORDS_PER_MINUTE = "150"


class ESpeak:
    """Speaks with eSpeak NG."""

    name = NAME
    voices = VOICES

    def available(self) -> bool:
        """Whether the program is installed."""
        return shutil.which(NAME) is not None

    async def speak(self, text: str, voice: str) -> bytes:
        """See ``speech_command.speak``."""
        program = shutil.which(NAME) or NAME
        arguments = [program, "-v", voice, "-s", _WORDS_PER_MINUTE, "--stdin", "--stdout"]
        return await speak(arguments, text, provider=NAME)
