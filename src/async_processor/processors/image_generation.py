"""IMAGE_GENERATION: a picture of what a prompt says, by a model or, for want of one, drawn.

Described in docs/image-generation.md.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..clock import Clock, SystemClock
from ..config import ImageConfig, ImageGenerationConfig, ProcessorConfig
from ..context import TaskContext
from ..errors import AsyncProcessorError, ConfigurationError
from ..model import LaneName, ProcessingTask
from ..results.image_generation import ImageGenerationResult
from .per_loop import PerLoop
from .picture_providers import choose, choose_model, open_generator
from .picture_request import MAX_SEED, SETTINGS, GeneratedPicture, ImageGenerator, PictureSource, read_request
from .picture_scene import compose, seed_of
from .provider_registry import checked
from .providers import diffusers_images, pillow_images
from .providers.picture_answers import looked_at
from .registry import ProcessorSpec, Readiness, failing, inspect_function

DRAWN_SIZE = 512
"""Width and height of a drawing for which no size is asked."""

_DRAWN = "drawn from words of the prompt, not made by an image model"


def processor_spec(config: ProcessorConfig) -> ProcessorSpec:
    """How IMAGE_GENERATION runs: where depends on who makes the picture, so it is found out per task.

    Raises:
        ConfigurationError: a bound leaves no room for any picture.
    """
    artist = Artist(config.image_generation, config.images)
    return ProcessorSpec(
        func=artist,
        is_async=True,
        wants_context=True,
        resolve=artist.resolve,
        aclose=artist.aclose,
        readiness=artist.readiness,
        example=_example,
    )


def _example() -> dict[str, Any]:
    return {"prompt": "a bear with a red balloon", "width": 64, "height": 64}


class Artist:
    """The processor function for servers and what other packages bring, and who knows which function else to use.

    Keeps one generator, and so one pool of connections, per event loop.

    Args:
        settings: provider, model and bounds.
        images: bounds of a picture that a server sends.
        environ: where keys and addresses are looked up; the process's environment unless given.
        clock: tells today's date, for names of models that end.
    """

    def __init__(
        self,
        settings: ImageGenerationConfig,
        images: ImageConfig,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        for name in ("request_timeout_s", "max_prompt_chars", "max_pixels", "max_steps", "max_response_bytes"):
            if getattr(settings, name) == 0:
                raise ConfigurationError(f"{SETTINGS}.{name} must be above 0")
        self._settings = settings
        self._images = images
        self._environ = os.environ if environ is None else environ
        self._clock: Clock = SystemClock() if clock is None else clock
        self._opened = PerLoop(self._open, lambda opened: opened[1].aclose())

    def resolve(self, payload: Mapping[str, Any]) -> ProcessorSpec:
        """The function for one payload, and its lane.

        A server, or what another package brings, is waited for on the event loop. A model of one's own is loaded in a
        worker process: it takes gigabytes and all of a processor, and has to be killed at the timeout. A drawing is a
        few milliseconds of a library that lets go of the interpreter's lock: a thread.

        Raises:
            InvalidPayloadError: the payload cannot be used.
        """
        wanted = read_request(payload, self._settings)
        try:
            source = choose(self._settings, self._environ)
            if source.provider in ("openai", "a1111") or source.brought:
                return ProcessorSpec(func=self, is_async=True, wants_context=True, lane=LaneName.ASYNC)
            model, warnings = choose_model(wanted.model, self._settings, source, self._clock.wall().date())
        except AsyncProcessorError as error:
            return failing(error)
        settings = replace(self._settings, api_key=None)  # no business of a worker's
        if source.provider == "diffusers":
            local = functools.partial(generate, settings=settings, source=source, model=model, warnings=warnings)
            return inspect_function(local, lane=LaneName.PROCESS)
        return inspect_function(functools.partial(draw, settings=settings, warnings=warnings), lane=LaneName.THREAD)

    async def __call__(self, task: ProcessingTask, context: TaskContext) -> dict[str, Any]:
        """Have a server, or what another package brings, make the picture.

        Raises:
            InvalidPayloadError: before anything is sent.
            ConfigurationError: a key, a model name or the extra is missing; says which.
            ProviderError: the server gave no usable answer; another attempt may help.
            PermanentError: no other attempt would help.
        """
        wanted = read_request(task.payload, self._settings)
        source, generator = self._opened.get()
        model, warnings = choose_model(wanted.model, self._settings, source, self._clock.wall().date())
        if warnings:
            # Not the warnings themselves: they name the model, which is part of the payload.
            context.logger.warning("there is a warning about the model asked for: see 'warnings' in the result")
        picture = checked(await generator.generate(replace(wanted, model=model)), GeneratedPicture, generator.provider)
        if source.brought:  # a server's was looked at when it came
            checked(picture.data, bytes, generator.provider)
            picture = looked_at(picture, self._images)
        told = [*warnings, *wanted.unused(generator.takes, generator.provider)]
        return _result(picture, told)

    async def readiness(self) -> Readiness:
        """Whether a picture could be had now; asks the server where there is one."""
        try:
            source = choose(self._settings, self._environ)
        except ConfigurationError as error:
            return Readiness(provider=self._settings.provider, offline=False, problem=error.message)
        offline = source.provider in ("diffusers", "procedural")
        problem = None
        try:
            if source.provider == "procedural":
                await asyncio.to_thread(pillow_images.check)
            elif source.provider == "diffusers":
                await asyncio.to_thread(diffusers_images.check, source.directory)
            else:
                await self._opened.get()[1].check()
        except AsyncProcessorError as error:
            problem = error.message
        remarks = (f"no image model is configured: pictures are {_DRAWN}",) if source.for_want_of_another else ()
        return Readiness(provider=source.provider, offline=offline, problem=problem, remarks=remarks)

    async def aclose(self) -> None:
        """Close the connections of this event loop. A later call opens new ones."""
        await self._opened.aclose()

    def _open(self) -> tuple[PictureSource, ImageGenerator]:
        source = choose(self._settings, self._environ)
        return source, open_generator(source, self._settings, self._images)


def draw(task: ProcessingTask, *, settings: ImageGenerationConfig, warnings: Sequence[str]) -> dict[str, Any]:
    """Draw what the prompt names.

    Raises:
        InvalidPayloadError: the payload cannot be used.
        MissingExtraError: the extra "images" is not installed.
    """
    wanted = read_request(task.payload, settings)
    width, height = wanted.width or DRAWN_SIZE, wanted.height or DRAWN_SIZE
    seed = seed_of(wanted.prompt) if wanted.seed is None else wanted.seed
    data = pillow_images.paint(compose(wanted.prompt, seed, width / height), (width, height))
    picture = GeneratedPicture(
        data=data, format="PNG", width=width, height=height, provider="procedural", offline=True, generated=False,
        seed=seed,
    )  # fmt: skip
    return _result(picture, [_DRAWN, *warnings, *wanted.unused({"seed"}, "procedural")])


def generate(
    task: ProcessingTask,
    context: TaskContext,
    *,
    settings: ImageGenerationConfig,
    source: PictureSource,
    model: str | None,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Have a local model make the picture.

    Raises:
        InvalidPayloadError: the payload cannot be used.
        MissingExtraError: the extra "diffusers" is not installed.
        ConfigurationError, PermanentError: the model is not there, damaged, would run code, or refused the request.
    """
    wanted = read_request(task.payload, settings)
    seed = random.SystemRandom().randint(0, MAX_SEED) if wanted.seed is None else wanted.seed
    data, width, height = diffusers_images.generate(source.directory, wanted, seed, context.report_progress)
    name = diffusers_images.NAME
    picture = GeneratedPicture(
        data=data, format="PNG", width=width, height=height, provider=name, offline=True, model=model, seed=seed
    )
    return _result(picture, [*warnings, *wanted.unused(diffusers_images.TAKES, name)])


def _result(picture: GeneratedPicture, warnings: list[str]) -> dict[str, Any]:
    return ImageGenerationResult(
        image_data=picture.data,
        format=picture.format,
        width=picture.width,
        height=picture.height,
        seed=picture.seed,
        provider=picture.provider,
        model=picture.model,
        generated=picture.generated,
        offline=picture.offline,
        warnings=tuple(warnings),
    ).as_dict()
