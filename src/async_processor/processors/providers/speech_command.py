"""Runs a program that reads text from its standard input and writes a WAV file to its standard output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Sequence
from typing import IO

from ...errors import ProviderError
from ..wav_sound import WavError, read_wav

DEADLINE_S = 10.0
_NOT_SPOKEN = re.compile(r"[^\w\s.,;:!?'\"()%&$+-]|_")
_TYPOGRAPHY = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": ", ", "…": "."})


def speakable(text: str) -> str:
    """The text as plain ASCII without signs that are not read out, on one line. May be empty."""
    plain = unicodedata.normalize("NFKD", text.translate(_TYPOGRAPHY)).encode("ascii", "ignore").decode()
    return " ".join(_NOT_SPOKEN.sub(" ", plain).split())


async def speak(arguments: Sequence[str], text: str, *, provider: str, deadline_s: float = DEADLINE_S) -> bytes:
    """Run the program, and end it when it takes longer than ``deadline_s`` seconds or the caller is cancelled.

    The text goes through standard input: arguments would show it to everybody on the machine, and no shell is
    involved. The sound goes to a file without a name, because the programs seek in it; both are gone when this returns.

    Args:
        arguments: the program and its arguments.
        text: what to say.
        provider: name of the program, for errors.

    Returns:
        The file, with true sizes in its header: a program that cannot seek leaves placeholders there.

    Raises:
        ProviderError: it could not be started, failed, took too long, or wrote no WAV file.
    """
    with _said(text) as said, tempfile.TemporaryFile() as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments, stdin=said, stdout=output, stderr=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            raise ProviderError(f"{provider} could not be started: {error.strerror}") from error
        await _finish(process, provider, deadline_s)
        output.seek(0)
        wav = output.read()
    try:
        return read_wav(wav).file()
    except WavError as error:
        raise ProviderError(f"{provider} wrote {error}") from error


def _said(text: str) -> IO[bytes]:
    """A file without a name that holds the text, in memory where the system can.

    Not a pipe of the event loop's: uvloop makes a socket of it, and the programs open ``/dev/stdin``, which a socket
    does not allow.
    """
    said: IO[bytes]
    if sys.platform == "linux":
        said = open(os.memfd_create("text"), "w+b")  # noqa: SIM115, PTH123 - whoever called closes it
    else:
        said = tempfile.TemporaryFile()  # noqa: SIM115 - likewise
    said.write(text.encode() + b"\n")
    said.seek(0)
    return said


async def _finish(process: asyncio.subprocess.Process, provider: str, deadline_s: float) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            await process.wait()
    except TimeoutError as error:
        raise ProviderError(f"{provider} took longer than {deadline_s:g} s to speak; send shorter text") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ProviderError(f"{provider} failed with exit code {process.returncode}")
