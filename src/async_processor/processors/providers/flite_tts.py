"""Speech by Flite (CMU, BSD-like licence), where the program is installed: ``apt-get install flite``."""

from __future__ import annotations

import shutil

from .speech_command import speak

NAME = "flite"
# Only voices that are inside the program: any other name would be taken for a file or an address. Best understood
# first; all at 16 kHz.
VOICES = ("slt", "rms", "awb", "kal16")


class Flite:
    """Speaks with Flite."""

    name = NAME
    voices = VOICES

    def available(self) -> bool:
        """Whether the program is installed."""
        return shutil.which(NAME) is not None

    async def speak(self, text: str, voice: str) -> bytes:
        """See ``speech_command.speak``."""
        program = shutil.which(NAME) or NAME
        arguments = [program, "-voice", voice, "-f", "/dev/stdin", "-o", "/dev/stdout"]
        return await speak(arguments, text, provider=NAME)
