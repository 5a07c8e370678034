"""A picture that somebody else made: bounded, and found to be one by its header. No pixel is decoded."""

from __future__ import annotations

import base64
from dataclasses import replace

from ...config import ImageConfig
from ...errors import PermanentError, ProviderError
from ..image_headers import GIF, PNG, PNG_TEXTS, HeaderError, png_without, read_header
from ..picture_request import GeneratedPicture

_DATA_URL = "data:image/"


def picture(
    encoded: object, provider: str, limits: ImageConfig, *, model: str | None, seed: int | None = None
) -> GeneratedPicture:
    """A picture of a server's that came in base64, as text or as a ``data:`` address.

    Raises:
        ProviderError: it is no base64, no picture, or a larger one than ``ImageConfig`` allows.
    """
    data = _decoded(encoded)
    if data is None:
        raise _no_picture(provider)
    claimed = GeneratedPicture(
        data=data, format="", width=0, height=0, provider=provider, offline=False, model=model, seed=seed
    )
    return looked_at(claimed, limits)


def looked_at(picture: GeneratedPicture, limits: ImageConfig) -> GeneratedPicture:
    """A picture with what its header says in place of what whoever made it says.

    Texts in a PNG are left out: servers write the prompt there, and it may hold a child's words. What tells that a
    machine made it (C2PA) stays.

    Raises:
        ProviderError: it is no picture, or a larger one than ``ImageConfig`` allows.
    """
    data = picture.data
    try:
        header = read_header(data)
        if header.format == PNG:
            data = png_without(data, PNG_TEXTS)
    except HeaderError:
        header = None
    if header is None or header.format == GIF:
        raise _no_picture(picture.provider)
    if header.width * header.height > limits.max_pixels or header.frames > limits.max_frames:
        raise ProviderError(
            f"{picture.provider} answered with a picture larger than {limits.max_pixels} pixels (ImageConfig)"
        )
    return replace(picture, data=data, format=header.format, width=header.width, height=header.height)


def only_an_address(provider: str) -> PermanentError:
    """The error for an answer that tells where the picture is. It is not fetched: the address is a stranger's."""
    return PermanentError(
        f"{provider} answered with the address of a picture, which is not fetched; use a model or a setting of the "
        "server that answers with the picture itself, in base64"
    )


def _no_picture(provider: str) -> ProviderError:
    return ProviderError(f"{provider} answered with something that is no picture")


def _decoded(encoded: object) -> bytes | None:
    if not isinstance(encoded, str):
        return None
    if encoded.startswith(_DATA_URL):
        encoded = encoded.partition(",")[2]
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:  # no base64, or letters beyond ASCII; not the cause of what is raised, which tells no content
        return None
