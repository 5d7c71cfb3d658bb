import math

import numpy as np
import pytest

from skcnn.comparison._charts import COSTS
from skcnn.comparison._format import (
    format_bytes,
    format_count,
    format_difference,
    format_duration,
    format_pvalue,
    format_score,
    printable,
)
from skcnn.comparison._labels import Box, place_labels, shorten, text_width
from skcnn.comparison._scales import LinearScale, LogScale

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.1, 0.9], ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]),
        ([0.912, 0.987], ["0.91", "0.92", "0.93", "0.94", "0.95", "0.96", "0.97", "0.98", "0.99"]),
        ([-2.1, -0.4], [f"\N{MINUS SIGN}{value / 10:.1f}" for value in range(22, 3, -2)]),
    ],
)  # fmt: skip
def test_linear_ticks(values, texts):
    assert [text for _, text in LinearScale(values, 0, 100).ticks(10)] == texts


@pytest.mark.parametrize("values", [[0.5, 1.0], [0.0, 1.0], [0.98, 1.0], [1.0, 1.0]])
def test_shares_stay_between_0_and_1(values):
    scale = LinearScale(values, 0, 100)
    assert 0 <= scale.low < scale.high <= 1
    assert all(0 <= tick <= 1 for tick, _ in scale.ticks())


@pytest.mark.parametrize("values", [[0.97, 0.97], [0, 0], [-3, -3], [1e-9, 2e-9], [5, 5e6]])
@pytest.mark.parametrize("kind", [LinearScale, LogScale])
def test_any_values_give_ticks_inside(kind, values):
    if kind is LogScale and min(values) <= 0:
        values = [0.3, 0.3]
    scale = kind(values, 10, 200)
    ticks = [tick[0] if kind is LinearScale else tick for tick in scale.ticks()]
    assert 1 <= len(ticks) <= 9
    pixels = [scale(value) for value in [*ticks, *values]]
    assert min(pixels) >= 10 - 1e-6
    assert max(pixels) <= 200 + 1e-6


def test_log_ticks():
    assert LogScale([0.012, 3.0], 0, 1).ticks() == pytest.approx([0.01, 0.03, 0.1, 0.3, 1, 3])
    assert LogScale([1e-6, 1e3], 0, 1).ticks(12) == pytest.approx(10.0 ** np.arange(-6, 4))
    assert len(LogScale([1e-6, 1e9], 0, 1).ticks(7)) <= 7
    assert len(LogScale([2.0, 2.0], 0, 1).ticks()) >= 2


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("fit_time", 0.003, "3 ms"),
        ("fit_time", 1000, "1\N{THIN SPACE}000 s"),
        ("predict_time_per_image", 2e-5, "20 µs"),
        ("predict_time_per_image", 5e-8, "50 ns"),
        ("n_parameters", 100_000, "100 k"),
        ("size", 100, "100 B"),
        ("size", 1e6, "1 MB"),
    ],
)
def test_tick_texts(name, value, text):
    assert COSTS[name].tick(value) == text


def overlapping(boxes):
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


@pytest.mark.parametrize("seed", range(8))
def test_labels_neither_overlap_nor_leave_the_picture(seed):
    rng = np.random.default_rng(seed)
    bounds = Box(60, 10, 750, 420)
    n_points = 16
    x = rng.uniform(70, 740, n_points)
    # Half of them crowd in one corner, as good pipelines do.
    y = np.where(np.arange(n_points) % 2, rng.uniform(20, 60, n_points), rng.uniform(20, 400))
    points = list(zip(x, y, strict=True))
    sizes = [(width, 17) for width in rng.uniform(30, 220, n_points)]
    boxes = place_labels(points, sizes, bounds)
    assert None not in boxes
    assert not overlapping(boxes)
    assert all(bounds.contains(box) for box in boxes)
    markers = [Box(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    assert not [box for box in boxes if any(box.overlaps(marker) for marker in markers)]


def test_a_lonely_label_sits_beside_its_point():
    (box,) = place_labels([(100, 100)], [(50, 16)], Box(0, 0, 300, 300))
    assert box.distance(100, 100) < 12


def test_labels_of_equal_points_are_all_placed():
    boxes = place_labels([(50, 50)] * 12, [(80, 16)] * 12, Box(0, 0, 500, 300))
    assert None not in boxes
    assert not overlapping(boxes)


def test_no_room_no_label():
    assert place_labels([(50, 50)], [(80, 16)], Box(0, 0, 60, 60)) == [None]


def test_shorten():
    assert shorten("short", 100, 13) == "short"
    cut = shorten("a very long name of a pipeline", 100, 13)
    assert cut.endswith("…")
    assert text_width(cut, 13) <= 100
    assert text_width("日本", 10) > text_width("ab", 10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 ns"),
        (5e-7, "500 ns"),
        (1.234e-5, "12.3 µs"),
        (0.9999e-3, "1.00 ms"),
        (0.0456, "45.6 ms"),
        (1.5, "1.50 s"),
        (99.4, "99.4 s"),
        (99.7, "1 min 40 s"),
        (200, "3 min 20 s"),
        (3599.6, "60 min 0 s"),
        (3700, "1 h 2 min"),
        (NAN, "\N{EN DASH}"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (999.6, "1.00 k"), (26506, "26.5 k"), (3.2e6, "3.20 M"),
     (1.5e9, "1.50 G"), (None, "\N{EN DASH}"), (NAN, "\N{EN DASH}")],
)  # fmt: skip
def test_counts(count, text):
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(12, "12 B"), (1500, "1.50 kB"), (2e9, "2.00 GB"), (None, "\N{EN DASH}")],
)
def test_bytes(n_bytes, text):
    assert format_bytes(n_bytes) == text


def test_scores_differences_and_p_values():
    assert format_score(0.98765) == "0.988"
    assert format_score(NAN) == "\N{EN DASH}"
    assert format_difference(-0.0123) == "\N{MINUS SIGN}0.012"
    assert format_difference(0.01) == "+0.010"
    assert format_difference(-1e-9) == "0.000"
    assert format_difference(NAN) == "\N{EN DASH}"
    assert format_pvalue(0.00004) == "< 0.001"
    assert format_pvalue(0.0456) == "0.046"
    assert format_pvalue(math.nan) == "\N{EN DASH}"


def test_printable():
    assert printable("grün 日本 a b") == "grün 日本 a b"
    assert printable("a\x1b[31m\n\udcff") == "a\\x1b[31m\\n\\udcff"
