"""One turn of a talk as four tasks: transcription and emotion side by side, then the reply, then its voice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model import ProcessingTask, ProcessingType, TaskPriority, TaskResult, create_task
from ..processor import AdvancedAsyncProcessor
from ..processors.spoken_answer import SPOKEN_ANSWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The tasks of a turn, each under the name it is shown by."""

    transcription: ProcessingTask
    emotion: ProcessingTask
    reply: ProcessingTask
    speech: ProcessingTask

    @classmethod
    def of(cls, recording: bytes) -> Turn:
        """The tasks that answer a recording."""
        # The voice itself is never written to a store.
        sound = {"audio_data": recording}
        transcription = create_task(
            ProcessingType.AUDIO_TRANSCRIPTION, sound, TaskPriority.HIGH, ephemeral=["audio_data"]
        )
        emotion = create_task(ProcessingType.EMOTION_ANALYSIS, sound, TaskPriority.HIGH, ephemeral=["audio_data"])
        reply = create_task(
            ProcessingType.AI_RESPONSE,
            {"prompt_template": "child_interaction"},
            TaskPriority.HIGH,
            depends_on=[transcription.id, emotion.id],
        )
        speech = create_task(SPOKEN_ANSWER, {}, TaskPriority.HIGH, depends_on=[reply.id])
        return cls(transcription=transcription, emotion=emotion, reply=reply, speech=speech)

    def stages(self) -> Iterator[tuple[str, ProcessingTask]]:
        """Name and task, in the order in which they are shown."""
        yield "transcription", self.transcription
        yield "emotion", self.emotion
        yield "reply", self.reply
        yield "speech", self.speech

    async def run(self, processor: AdvancedAsyncProcessor) -> TurnResults:
        """Submit the tasks and wait for all of them."""
        for _, task in self.stages():
            await processor.submit_task(task)
        results = {name: await processor.wait_for_task(task.id) for name, task in self.stages()}
        return TurnResults(**results)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResults:
    """How the tasks of a turn ended."""

    transcription: TaskResult
    emotion: TaskResult
    reply: TaskResult
    speech: TaskResult

    def stages(self) -> Iterator[tuple[str, TaskResult]]:
        """Name and result, in the order in which they are shown."""
        yield "transcription", self.transcription
        yield "emotion", self.emotion
        yield "reply", self.reply
        yield "speech", self.speech

    @property
    def ok(self) -> bool:
        """Whether every stage completed."""
        return all(result.ok for _, result in self.stages())

    @property
    def total_time(self) -> float:
        """Seconds from the first submit to the last end."""
        began = min(result.created_at for _, result in self.stages())
        return (max(result.completed_at for _, result in self.stages()) - began).total_seconds()
