"""Charts of DATA_ANALYTICS: decoded again, and looked at."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.processors.data.test_in_processor import SPEC, run, spec_for

from async_processor import AdvancedAsyncProcessor
from async_processor.config import DataConfig
from async_processor.context import TaskContext
from async_processor.errors import InvalidPayloadError, MissingExtraError
from async_processor.model import LaneName, ProcessingTask, ProcessingType
from async_processor.processors.data_analytics import analyse as analyse_task
from async_processor.processors.data_chart_request import KEYS, KINDS, read_chart
from async_processor.processors.data_request import read_request
from async_processor.processors.providers.matplotlib_charts import Bars, Drawing, Histogram, Points, draw

CONFIG = DataConfig()
INK = (0x1F, 0x77, 0xB4)
Pixels = npt.NDArray[np.bool_]


def analyse(data: object, chart: object, config: DataConfig = CONFIG, **fields: Any) -> dict[str, Any]:
    task = ProcessingTask(ProcessingType.DATA_ANALYTICS, {"data": data, "chart": chart, **fields})
    return analyse_task(task, TaskContext(task_id=task.id, task_type=task.task_type), config=config, apart=False)


def decoded(png: bytes) -> npt.NDArray[np.int16]:
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.info.keys() & {"Software", "Title"}) == ("PNG", set())
        return np.asarray(image.convert("RGB"), np.int16)


def ink(chart: dict[str, Any]) -> Pixels:
    """Which pixels are of the data: a chart is drawn in one colour, on white, with grey lines behind."""
    shown: Pixels = np.abs(decoded(chart["data"]) - np.array(INK)).max(axis=2) < 40
    assert shown.shape == (chart["height"], chart["width"])
    return shown


def drawn(data: object, kind: str, x: str, y: str | None = None, **more: Any) -> Pixels:
    return ink(analyse(data, {"kind": kind, "x": x, "y": y, **more})["chart"])


def runs(flags: Sequence[bool] | Pixels) -> list[tuple[int, int]]:
    """First and last place of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, np.int8), [0]])))
    return [(int(first), int(after) - 1) for first, after in zip(edges[::2], edges[1::2], strict=True)]


def bar_heights(shown: Pixels) -> list[int]:
    """Of each bar, in pixels from left to right: bars do not touch each other."""
    return [int(shown[:, (first + last) // 2].sum()) for first, last in runs(shown.any(axis=0))]


# ---- what is seen


def test_bars_are_as_high_as_their_values():
    found = drawn({"toy": ["bear", "ball", "doll"], "minutes": [10, 20, 5]}, "bar", "toy", "minutes")

    heights = bar_heights(found)
    assert len(heights) == 3
    assert [height / max(heights) for height in heights] == pytest.approx([0.5, 1.0, 0.25], abs=0.01)
    rows = runs(found.any(axis=1))
    assert len(rows) == 1, "they stand on one line"


def test_a_bar_without_a_value_is_left_out_and_one_below_zero_hangs():
    shown = drawn({"a": ["x", "y", "z"], "v": [4, None, -4]}, "bar", "a", "v")

    columns = runs(shown.any(axis=0))
    assert len(columns) == 2
    up, down = ((runs(shown[:, (first + last) // 2])[0]) for first, last in columns)
    assert up[1] == pytest.approx(down[0], abs=2), "both begin at zero"
    assert up[1] - up[0] == pytest.approx(down[1] - down[0], abs=2)


def test_a_line_goes_up_with_its_values_whatever_the_order_of_the_rows():
    shown = drawn({"x": [3, 1, 2, 0], "y": [30, 10, 20, 0]}, "line", "x", "y")

    columns = np.flatnonzero(shown.any(axis=0))
    middles = np.array([np.flatnonzero(shown[:, column]).mean() for column in columns])
    assert (np.diff(columns) == 1).all(), "it has no gap"
    straight = np.polyfit(columns, middles, 1)
    assert straight[0] < -0.3, "rows are counted from above"
    assert np.abs(np.polyval(straight, columns) - middles).max() < 1.5


def test_a_line_has_a_gap_where_there_is_no_value_and_a_dot_for_one_that_stands_alone():
    xs = list(range(7))
    whole = runs(drawn({"x": xs, "y": [1] * 7}, "line", "x", "y").any(axis=0))
    parts = runs(drawn({"x": xs, "y": [1, 1, None, 1, None, 1, 1]}, "line", "x", "y").any(axis=0))

    assert len(whole) == 1
    lengths = [last - first for first, last in parts]
    assert lengths == pytest.approx([(whole[0][1] - whole[0][0]) / 6, 4, (whole[0][1] - whole[0][0]) / 6], abs=4)
    assert (parts[0][0], parts[-1][1]) == whole[0]


def test_points_are_where_their_values_are():
    shown = drawn({"x": [0, 10, 0, 10, None, 5], "y": [0, 0, 6, 6, 3, None]}, "scatter", "x", "y")

    columns, rows = runs(shown.any(axis=0)), runs(shown.any(axis=1))
    assert (len(columns), len(rows)) == (2, 2)
    assert all(last - first < 8 for first, last in columns + rows), "and nothing between them"


def test_a_histogram_counts():
    shown = drawn({"v": [1] * 6 + [2] * 2 + [4, None]}, "histogram", "v", bins=3)

    # Of three steps from 1 to 4: six, two, one.
    columns = runs(shown.any(axis=0))
    heights = [int(shown[:, (first + last) // 2].sum()) for first, last in columns]
    assert [round(6 * height / heights[0], 1) for height in heights] == [6.0, 2.0, 1.0]
    widths = [last - first for first, last in columns]
    assert max(widths) - min(widths) <= 2


def test_times_are_drawn_to_scale_in_utc_with_and_without_a_zone():
    times: list[object] = [
        datetime(2026, 3, 1, tzinfo=UTC), "2026-03-02T00:00:00Z", "2026-03-03T02:00:00+02:00", "2026-03-05",
    ]  # fmt: skip
    texts = [str(time) for time in times]

    shown = drawn({"at": texts, "v": [1, 2, 3, 4]}, "scatter", "at", "v")

    places = [(first + last) / 2 for first, last in runs(shown.any(axis=0))]
    steps = np.diff(places)
    assert steps == pytest.approx([steps[0], steps[0], 2 * steps[0]], abs=1.5)


@pytest.mark.parametrize(("width", "height"), [(200, 150), (289, 333), (1_001, 577), (2_000, 2_000)])
def test_a_chart_is_as_large_as_was_asked_for(width: int, height: int):
    chart = analyse({"x": [1, 2], "y": [1, 2]}, {"kind": "line", "x": "x", "y": "y", "width": width, "height": height})

    assert decoded(chart["chart"]["data"]).shape == (height, width, 3)
    assert (chart["chart"]["width"], chart["chart"]["height"]) == (width, height)


def test_title_and_names_are_written_and_the_same_chart_has_the_same_bytes():
    def chart(**more: Any) -> bytes:
        data: bytes = analyse({"x": [1, 2], "y": [1, 2]}, {"kind": "line", "x": "x", "y": "y", **more})["chart"]["data"]
        return data

    def dark_above_the_frame(png: bytes) -> int:
        dark = (decoded(png) < 128).all(axis=2)
        return int(dark[: np.flatnonzero(dark.mean(axis=1) > 0.5)[0]].sum())

    assert (dark_above_the_frame(chart()), dark_above_the_frame(chart(title="Minutes of play")) > 100) == (0, True)
    assert chart(title="Minutes of play") == chart(title="Minutes of play")


# ---- what is drawn


def test_the_result_carries_the_chart_beside_the_figures():
    result = analyse({"v": [1, 2, 3]}, {"kind": "histogram", "x": "v"})

    data = result["chart"].pop("data")
    assert isinstance(data, bytes)
    assert result["chart"] == {"format": "png", "width": 800, "height": 500, "kind": "histogram", "points": 3}
    assert [column["name"] for column in result["columns"]] == ["v"]
    assert "chart" not in analyse({"v": [1, 2, 3]}, None)


PLAY = [
    {"toy": "bear", "minutes": 12, "day": "2026-03-02"},
    {"toy": "ball", "minutes": 7, "day": "2026-03-02"},
    {"toy": "bear", "minutes": 20, "day": "2026-03-04"},
]


def test_groups_can_be_drawn_by_the_names_of_their_figures():
    fields = {"analysis_type": "group_by", "by": "toy", "aggregations": {"minutes": ["sum", "mean"]}}

    for name, expected in (("sum(minutes)", 7 / 32), ("mean(minutes)", 7 / 16), ("count", 0.5)):
        result = analyse(PLAY, {"kind": "bar", "x": "toy", "y": name}, **fields)
        ball, bear = bar_heights(ink(result["chart"]))
        assert ball / bear == pytest.approx(expected, abs=0.01)


def test_a_series_can_be_drawn():
    fields = {"analysis_type": "time_series", "time_column": "day", "value_column": "minutes"}

    result = analyse(PLAY, {"kind": "line", "x": "time", "y": "sum"}, **fields)

    assert result["chart"]["points"] == 3
    assert len(runs(ink(result["chart"]).any(axis=0))) == 2, "the day without play is a gap"


def test_the_rows_of_a_query_can_be_drawn():
    query = "SELECT toy, sum(minutes) AS total, 1 AS total FROM data GROUP BY toy ORDER BY toy"

    result = analyse(PLAY, {"kind": "bar", "x": "toy", "y": "total"}, analysis_type="sql", query=query)

    ball, bear = bar_heights(ink(result["chart"]))
    assert ball / bear == pytest.approx(7 / 32, abs=0.01)


@pytest.mark.parametrize("fields", [{}, {"analysis_type": "correlation"}, {"analysis_type": "outliers"}])
def test_analyses_without_rows_draw_the_table(fields: dict[str, Any]):
    data = {"a": [1, 2, 3], "b": [3, 1, 2]}

    assert analyse(data, {"kind": "scatter", "x": "a", "y": "b"}, **fields)["chart"]["points"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_draw_is_an_empty_chart(kind: str):
    chart = {"kind": kind, "x": "v", **({} if kind == "histogram" else {"y": "v"})}

    result = analyse({"v": [1.0, None]}, chart, analysis_type="sql", query="SELECT v FROM data WHERE v > 9")

    assert result["chart"]["points"] == 0
    assert not ink(result["chart"]).any()


# ---- what is refused


@pytest.mark.parametrize(
    ("chart", "says"),
    [
        ("line", "must be a mapping such as"),
        ({}, r"\['chart'\]\['kind'\] is missing"),
        ({"kind": "pie", "x": "v"}, r"\['kind'\] must be one of 'line', 'bar', 'histogram', 'scatter', not 'pie'"),
        ({"kind": "line", "y": "v"}, r"\['chart'\]\['x'\] is missing; it must be the name of a column"),
        ({"kind": "line", "x": "v"}, r"\['chart'\]\['y'\] is missing"),
        ({"kind": "line", "x": 3, "y": "v"}, r"\['x'\] must be the name of a column, not int"),
        ({"kind": "histogram", "x": "v", "y": "v"}, r"\['y'\] is given, which a histogram has no use for"),
        ({"kind": "bar", "x": "v", "y": "v", "bins": 3}, r"\['bins'\] is given, which a bar has no use for"),
        ({"kind": "histogram", "x": "v", "bins": 0}, r"\['bins'\] must be a number from 1 to 500"),
        ({"kind": "histogram", "x": "v", "color": "red", "z": 1}, "stands beside 2 keys that no chart has"),
        ({"kind": "histogram", "x": "v", "width": 199}, r"\['width'\] must be a number from 200"),
        ({"kind": "histogram", "x": "v", "height": 10**9}, r"\['height'\] must be a number from 150"),
        ({"kind": "histogram", "x": "v", "width": float("nan")}, r"\['width'\]"),
        ({"kind": "histogram", "x": "v", "width": 2_001, "height": 2_000}, "is 4002000 pixels; ask for"),
        ({"kind": "histogram", "x": "v", "title": "a" * 201}, r"\['title'\] has 201 characters; send at most 200"),
        ({"kind": "histogram", "x": "v", "title": "\ud83d"}, r"\['title'\] is not valid Unicode"),
    ],
)  # fmt: skip
def test_a_chart_that_cannot_be_is_refused_before_the_task_waits(chart: object, says: str):  # B4
    with pytest.raises(InvalidPayloadError, match=says) as caught:
        read_request({"data": {"v": [1]}, "chart": chart}, CONFIG)
    assert caught.value.field == "chart"


@pytest.mark.parametrize(
    ("data", "chart", "says"),
    [
        ({"v": [1]}, {"kind": "histogram", "x": "w"}, "names 'w', which is no column of the data"),
        ({"v": ["a"]}, {"kind": "histogram", "x": "v"}, "holds other values than numbers"),
        ({"v": [True]}, {"kind": "histogram", "x": "v"}, "holds other values than numbers"),
        ({"v": ["a"], "w": [1]}, {"kind": "line", "x": "v", "y": "w"}, "holds texts; it must be one of numbers or"),
        ({"v": ["0001-01-01"], "w": [1]}, {"kind": "line", "x": "v", "y": "w"}, "outside of the years 1000 to 9000"),
        ({"v": ["9999-12-31T23:59:59-12:00"], "w": [1]}, {"kind": "line", "x": "v", "y": "w"}, r"\['x'\] names 'v'"),
        ({"v": [1], "w": ["b"]}, {"kind": "bar", "x": "v", "y": "w"}, r"\['y'\] names 'w', which holds other values"),
        ({"v": list(range(101))}, {"kind": "bar", "x": "v", "y": "v"}, "for 101 rows; draw at most 100"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_drawn_are_refused_by_name(data: Any, chart: dict[str, Any], says: str):
    with pytest.raises(InvalidPayloadError, match=says) as caught:
        analyse(data, chart)
    assert caught.value.field == "chart"


def test_a_column_that_a_result_has_not_is_refused_with_those_that_it_has():
    fields = {"analysis_type": "group_by", "by": "toy", "aggregations": {"minutes": "sum"}}

    with pytest.raises(InvalidPayloadError, match=r"\['y'\] names 'minutes', .*: 'count', 'sum\(minutes\)', 'toy'"):
        analyse(PLAY, {"kind": "bar", "x": "toy", "y": "minutes"}, **fields)


def test_numbers_too_large_to_be_drawn_are_refused():
    with pytest.raises(InvalidPayloadError, match="holds a number beyond 1e"):
        analyse({"v": [1]}, {"kind": "histogram", "x": "big"}, analysis_type="sql", query="SELECT 1e200 AS big")


def test_more_points_than_are_allowed_are_refused_and_as_many_are_drawn():
    config = DataConfig(max_chart_points=1_000)
    chart = {"kind": "scatter", "x": "v", "y": "v"}

    assert analyse({"v": np.arange(1_000)}, chart, config)["chart"]["points"] == 1_000
    with pytest.raises(InvalidPayloadError, match=r"more than 1000 points \(DataConfig.max_chart_points\)"):
        analyse({"v": np.arange(1_001)}, chart, config)


@pytest.mark.parametrize("kind", ["line", "scatter"])
def test_as_many_points_as_are_allowed_can_be_drawn(kind: str):
    rng = np.random.default_rng(7)
    data = {"x": rng.random(CONFIG.max_chart_points), "y": rng.random(CONFIG.max_chart_points)}

    assert ink(analyse(data, {"kind": kind, "x": "x", "y": "y"})["chart"]).mean() > 0.4


# ---- text from outside


def test_a_text_is_no_formula():
    title = r"$\frac{1}{$ costs $5 \input{/etc/passwd} ^_^"

    result = analyse({"$x": ["$a", "b$"], "$y_1$": [1, 2]}, {"kind": "bar", "x": "$x", "y": "$y_1$", "title": title})

    assert result["warnings"] == []
    assert len(bar_heights(ink(result["chart"]))) == 2


def test_line_breaks_and_signs_that_cannot_be_seen_do_not_shift_the_chart():
    plain = {"kind": "bar", "x": "x", "y": "y", "title": "one two"}
    hostile = plain | {"title": "\x00one\n\n\n\n\u202etwo\x1b"}
    data = {"x": ["a b"], "y": [1]}

    assert analyse(data, plain)["chart"]["data"] == analyse(data, hostile)["chart"]["data"]
    assert analyse(data, plain)["chart"]["data"] == analyse({"x": ["a\n\nb\t"], "y": [1]}, plain)["chart"]["data"]


def test_characters_that_the_font_has_not_are_told_of():
    result = analyse({"x": ["熊"], "y": [1]}, {"kind": "bar", "x": "x", "y": "y"})

    assert result["warnings"] == ["some characters are drawn as boxes: the font has no picture of them"]


def test_labels_without_room_are_told_of_or_cut():
    data = {"x": [f"{number} {'long name ' * 30}" for number in range(100)], "y": range(1, 101)}
    data["y"] = list(data["y"])
    for width, height in ((200, 150), (800, 500)):
        chart = {"kind": "bar", "x": "x", "y": "y", "title": "w" * 200, "width": width, "height": height}
        result = analyse(data, chart)
        assert decoded(result["chart"]["data"]).shape == (height, width, 3)
        assert set(result["warnings"]) <= {"the labels have too little room: ask for a wider or higher chart"}
    assert len(bar_heights(ink(result["chart"]))) == 100


CHARTS = st.dictionaries(
    st.sampled_from([*KEYS, "colour"]),
    st.none() | st.sampled_from([*KINDS, "v", "w"]) | st.integers(-5, 3_000) | st.floats() | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2),
)  # fmt: skip


@given(CHARTS | st.text() | st.integers())
def test_any_chart_is_read_or_refused(chart: object):  # B21
    with contextlib.suppress(InvalidPayloadError):
        found = read_chart({"chart": chart}, CONFIG)
        assert found is None or found.width * found.height <= CONFIG.max_chart_pixels


NUMBERS = st.none() | st.floats(-1e150, 1e150) | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 1e-150])
LABELS = st.none() | st.text(max_size=30)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, LABELS), max_size=12),
    size=st.tuples(st.integers(200, 400), st.integers(150, 300)),
)
def test_any_values_can_be_drawn(kind: str, rows: list[tuple[Any, Any, Any]], size: tuple[int, int]):
    xs, ys = ([None if row[at] is None else float(row[at]) for row in rows] for at in (0, 1))
    content: Any = {
        "bar": Bars([str(label) for _, _, label in rows], ys),
        "histogram": Histogram([x for x in xs if x is not None], 20),
    }.get(kind)
    if content is None:
        both = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None]
        content = Points([x for x, _ in both], [y for _, y in both], joined=kind == "line")

    png, _ = draw(Drawing(content=content, title="t", x_label="x", y_label="y", width=size[0], height=size[1]))

    assert decoded(png).shape == (size[1], size[0], 3)


# ---- the library, and where it works


def test_settings_of_the_machine_have_no_say_and_are_left_as_they_were():
    chart = {"kind": "line", "x": "v", "y": "v", "title": "a_b"}
    plain = analyse({"v": [1, 2]}, chart)["chart"]["data"]

    with mpl.rc_context({"text.usetex": True, "figure.dpi": 30, "lines.linewidth": 20, "savefig.bbox": "tight"}):
        before = dict(mpl.rcParams)
        assert analyse({"v": [1, 2]}, chart)["chart"]["data"] == plain
        assert dict(mpl.rcParams) == before


def test_without_the_library_it_says_what_to_install_before_it_computes(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(
        MissingExtraError, match=r"a chart of DATA_ANALYTICS needs the optional extra 'charts': .*\[charts\]"
    ):
        analyse({"v": object()}, {"kind": "histogram", "x": "v"})
    assert analyse({"v": [1]}, None)["row_count"] == 1


def test_neither_windows_nor_shared_figures_are_loaded():
    program = (
        "import sys; from async_processor.processors.providers.matplotlib_charts import *; "
        "draw(Drawing(content=Histogram([1.0], 3), title='', x_label='', y_label='', width=200, height=150)); "
        "print(sorted({'matplotlib.pyplot', 'tkinter', 'pandas'} & sys.modules.keys()))"
    )

    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True, timeout=50
    )

    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_a_chart_is_drawn_in_a_worker_process():
    assert spec_for(data={"v": [1]}, chart={"kind": "histogram", "x": "v"}).lane is LaneName.PROCESS
    assert spec_for(data={"v": [1]}).lane is LaneName.THREAD


async def test_a_task_gives_the_chart_and_a_bad_one_fails_once():
    chart = {"kind": "bar", "x": "toy", "y": "minutes"}
    async with AdvancedAsyncProcessor(1, 1, 1, enable_monitoring=False) as processor:
        good = await run(processor, {"data": PLAY, "chart": chart})
        bad = await run(processor, {"data": PLAY, "chart": {**chart, "y": "hours"}})

    assert (good.worker_id or "").startswith("process")
    assert len(bar_heights(ink(good.unwrap()["chart"]))) == 3
    assert (bad.error_type, bad.attempts) == ("InvalidPayloadError", 1)


async def test_readiness_tells_of_charts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert SPEC.readiness is not None

    assert any("'charts'" in remark for remark in (await SPEC.readiness()).remarks)
