import json

from hypothesis import given
from hypothesis import strategies as st

from async_processor.model import LaneName
from async_processor.monitoring.observer import AttemptEnded
from async_processor.monitoring.profiling import SlowestAttempts


def ended(task_id, ran, task_type="a", **more):
    return AttemptEnded(task_id, task_type, LaneName.PROCESS, "process-0", 1, True, ran, 0.0, None, None)._replace(
        **more
    )


def test_what_is_known_of_an_attempt_is_kept():
    slowest = SlowestAttempts(3, 10)

    slowest.observe(ended("x", 2.0, cpu_time=1.5, peak_memory_mb=80.0, profile="text", succeeded=False, attempt=2))

    snapshot = slowest.snapshot()
    assert snapshot == {
        "a": [
            {
                "task_id": "x", "attempt": 2, "lane": "process", "worker_id": "process-0", "succeeded": False,
                "run_time": 2.0, "cpu_time": 1.5, "peak_memory_mb": 80.0, "profile": "text",
            }
        ]
    }  # fmt: skip
    assert json.loads(json.dumps(snapshot)) == snapshot


@given(st.lists(st.floats(0.0, 1e6)), st.integers(0, 5))
def test_the_slowest_are_kept_slowest_first_and_of_equals_the_earlier(times, per_type):
    slowest = SlowestAttempts(per_type, 10)
    for number, ran in enumerate(times):
        slowest.observe(ended(str(number), ran))

    kept = [(item["run_time"], item["task_id"]) for item in slowest.snapshot().get("a", [])]

    expected = sorted(enumerate(times), key=lambda item: (-item[1], item[0]))[:per_type]
    assert kept == [(ran, str(number)) for number, ran in expected]


def test_types_are_told_apart_up_to_a_limit():
    slowest = SlowestAttempts(1, 2)
    for number in range(5):
        slowest.observe(ended(str(number), 1.0 + number, task_type=f"t{number}"))

    assert {name: items[0]["task_id"] for name, items in slowest.snapshot().items()} == {
        "t0": "0", "t1": "1", "other": "4",
    }  # fmt: skip
