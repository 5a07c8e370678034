"""The table of legal steps, held to the rules it stands for."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.markdown import Page
from tests.source_code import ROOT

from async_processor.model import TaskStatus
from async_processor.scheduling.lifecycle import (
    FINAL_STATUS,
    TRANSITIONS,
    IllegalStepError,
    Phase,
    Step,
    mermaid,
    open_status,
)
from async_processor.scheduling.records import TaskRecord

OPEN = [phase for phase in Phase if phase is not Phase.FINISHED]


def record_in(phase: Phase) -> TaskRecord:
    """A record brought to a phase by legal steps."""
    record = TaskRecord("a")
    for step in _way_to(phase):
        record.advance(step)
    return record


def _way_to(goal: Phase) -> list[Step]:
    ways: dict[Phase, list[Step]] = {Phase.WAITING: []}
    while goal not in ways:
        ways |= {
            after: [*way, step]
            for (phase, step), after in TRANSITIONS.items()
            for way in [ways.get(phase)]
            if way is not None and after not in ways
        }
    return ways[goal]


@pytest.mark.parametrize(("phase", "step"), list(itertools.product(Phase, Step)), ids=lambda item: item.name)
def test_a_step_is_taken_as_the_table_says_or_refused_without_effect(phase: Phase, step: Step):
    record = record_in(phase)

    if (phase, step) in TRANSITIONS:
        record.advance(step)
        assert record.phase is TRANSITIONS[phase, step]
    else:
        with pytest.raises(IllegalStepError, match=f"{step.name} is not a legal step from {phase.name}"):
            record.advance(step)
        assert record.phase is phase


def test_what_is_finished_is_never_left():
    assert [phase for phase, _ in TRANSITIONS if phase is Phase.FINISHED] == []


def test_every_phase_can_be_reached_and_left_towards_an_end():
    assert {phase for phase in Phase if _way_to(phase) is not None} == set(Phase)
    leads_to_an_end = {Phase.FINISHED}
    while more := {phase for (phase, _), after in TRANSITIONS.items() if after in leads_to_an_end} - leads_to_an_end:
        leads_to_an_end |= more
    assert leads_to_an_end == set(Phase)


def test_the_steps_that_end_a_task_are_those_with_a_final_status():
    assert {step for (_, step), after in TRANSITIONS.items() if after is Phase.FINISHED} == set(FINAL_STATUS)
    assert {step for (_, step), after in TRANSITIONS.items() if after is not Phase.FINISHED}.isdisjoint(FINAL_STATUS)
    assert set(FINAL_STATUS.values()) == {status for status in TaskStatus if status.is_terminal}


def test_every_step_has_a_place_in_the_table():
    assert {step for _, step in TRANSITIONS} == set(Step)


@pytest.mark.parametrize("phase", OPEN)
def test_an_open_task_shows_running_while_it_holds_a_slot_and_pending_otherwise(phase: Phase):
    holds_a_slot = phase in (Phase.RUNNING, Phase.STOPPING)

    assert open_status(phase) is (TaskStatus.RUNNING if holds_a_slot else TaskStatus.PENDING)
    assert record_in(phase).status is open_status(phase)
    assert not record_in(phase).finished


@pytest.mark.parametrize(("step", "status"), FINAL_STATUS.items(), ids=lambda item: item.name)
def test_an_ended_task_shows_how_it_ended(step: Step, status: TaskStatus):
    phase = next(phase for phase, ending in TRANSITIONS if ending is step)
    record = record_in(phase)

    record.advance(step)

    assert (record.finished, record.status) == (True, status)


def test_a_record_tells_its_state_in_one_line():
    assert repr(record_in(Phase.BACKOFF)) == "<TaskRecord a BACKOFF pending attempt 0 urgency 3>"


def test_the_page_on_scheduling_shows_the_table_as_it_is():
    diagrams = [block.text for block in Page(Path(ROOT / "docs/scheduling.md")).blocks() if block.language == "mermaid"]

    assert diagrams == [f"{mermaid()}\n"]
