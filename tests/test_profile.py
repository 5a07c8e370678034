import re
import subprocess
import sys
import threading
from cProfile import Profile

from async_processor.profile import SHOWN_FUNCTIONS, profile_call


def slow_part(count):
    return sum(number * number for number in range(count))


def work():
    slow_part(50_000)
    return "done"


def test_a_call_gives_its_value_and_where_its_time_went():
    profiled = profile_call(work)

    assert (profiled.value, profiled.error) == ("done", None)
    lines = profiled.text.splitlines()
    assert re.fullmatch(r"\d+ function calls, \d+ functions", lines[0])
    # By time with callees: the caller before what it called.
    assert "work" in lines[2]
    assert "slow_part" in lines[3]
    assert "disable" not in profiled.text


def test_what_a_call_raises_is_given_back_with_its_profile():
    def fail():
        slow_part(10)
        raise KeyboardInterrupt

    profiled = profile_call(fail)

    assert profiled.value is None
    assert isinstance(profiled.error, KeyboardInterrupt)
    assert "slow_part" in profiled.text


def test_a_profile_is_bounded():
    names = ["f" + "x" * 5_000 + str(number) for number in range(200)]
    scope = {}
    exec("\n".join(f"def {name}(): return {number}" for number, name in enumerate(names)), scope)  # noqa: S102

    profiled = profile_call(lambda: [scope[name]() for name in names])

    assert len(profiled.text.splitlines()) == SHOWN_FUNCTIONS + 2
    assert len(profiled.text) < 8_000


def test_under_another_profiler_the_call_is_made_without_and_the_other_goes_on():
    other = Profile()
    other.enable()
    try:
        profiled = profile_call(work)
        slow_part(10)
    finally:
        other.disable()

    assert profiled == ("done", None, None)
    assert any("slow_part" in str(entry.code) for entry in other.getstats())


def test_profiling_ends_with_the_call():
    profile_call(work)

    assert sys.getprofile() is None
    assert profile_call(work).text is not None


def test_threads_are_profiled_side_by_side_or_not_at_all():
    found = []
    barrier = threading.Barrier(2)

    def run():
        def meet():
            barrier.wait(10)
            return work()

        found.append(profile_call(meet))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [item.value for item in found] == ["done", "done"]
    # From Python 3.12 on only one profiler may be at work in a process.
    assert sum(item.text is not None for item in found) >= (2 if sys.version_info < (3, 12) else 1)


def test_importing_it_does_not_import_the_profiler():
    code = "import async_processor.profile, sys; print('cProfile' in sys.modules, 'pstats' in sys.modules)"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown == "False False\n"
