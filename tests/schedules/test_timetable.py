"""When something is due, also on the days on which clocks change."""

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loomd.schedules.timetable import NAMES, Timetable
from tests.schedules.conftest import at

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana", "Asia/Kathmandu"]


def local(times: tuple[float, ...], zone: str) -> list[str]:
    """Return times as local ones with their offset."""
    return [f"{datetime.fromtimestamp(one, ZoneInfo(zone)):%m-%d %H:%M%z}"[:-2] for one in times]


@pytest.mark.parametrize(
    ("expression", "begin", "end", "due"),
    [
        pytest.param("30 2 * * *", "03-28 12:00", "03-30 12:00", ["03-29 03:00+02", "03-30 02:30+02"], id="left-out"),
        pytest.param("0 2,3 * * *", "03-28 12:00", "03-29 12:00", ["03-29 03:00+02"], id="left-out-meets-another"),
        pytest.param("30 2 * * *", "10-24 12:00", "10-26 12:00", ["10-25 02:30+02", "10-26 02:30+01"], id="twice"),
        pytest.param("0 * * * *", "03-29 01:30", "03-29 04:30", ["03-29 03:00+02", "03-29 04:00+02"], id="hourly-on"),
        pytest.param(
            "0 * * * *",
            "10-25 01:30",
            "10-25 03:30",
            ["10-25 02:00+02", "10-25 02:00+01", "10-25 03:00+01"],
            id="hourly-back",
        ),
        pytest.param("*/30 2 * * *", "03-28 12:00", "03-29 12:00", [], id="often-in-the-hour-left-out"),
        pytest.param(
            "*/30 2 * * *",
            "10-25 01:00",
            "10-25 12:00",
            ["10-25 02:00+02", "10-25 02:30+02", "10-25 02:00+01", "10-25 02:30+01"],
            id="often-in-the-hour-that-comes-twice",
        ),
    ],
)
def test_days_on_which_clocks_change(expression: str, begin: str, end: str, due: list[str]) -> None:
    """What is due at an hour is due once; what is due often goes by the hands of the clock."""
    zone = "Europe/Berlin"
    found = Timetable(expression, zone).between(at(f"2026-{begin}", zone), at(f"2026-{end}", zone), 100)
    assert local(found.times, zone) == due


def test_the_second_of_two_equal_hours_repeats_nothing() -> None:
    """Asked from within the hour that comes twice, what was due in the first one is not due again."""
    zone = ZoneInfo("Europe/Berlin")
    second = datetime(2026, 10, 25, 2, 15, fold=1, tzinfo=zone).timestamp()
    found = Timetable("30 2 * * *", "Europe/Berlin").after(second)
    assert found == at("2026-10-26 02:30", "Europe/Berlin")


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_for_expressions(name: str) -> None:
    """A name is due when its expression is."""
    start = at("2026-05-05 05:05")
    assert Timetable(name, "UTC").after(start) == Timetable(NAMES[name], "UTC").after(start)


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        pytest.param("0 9 L * *", "2026-02-28 09:00", id="last-day"),
        pytest.param("0 9 LW * *", "2026-02-27 09:00", id="last-working-day"),
        pytest.param("0 9 * * 5L", "2026-02-27 09:00", id="last-friday"),
        pytest.param("0 9 * * 1#2", "2026-02-09 09:00", id="second-monday"),
        pytest.param("0 9 13 * 5", "2026-02-06 09:00", id="the-13th-or-a-friday"),
        pytest.param("0 0 29 2 *", "2028-02-29 00:00", id="leap-day"),
    ],
)
def test_days_of_month_and_week(expression: str, due: str) -> None:
    """What the library knows beyond five numbers works."""
    assert Timetable(expression, "UTC").after(at("2026-02-01 12:00")) == at(due)


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        pytest.param("61 * * * *", "UTC", id="minute"),
        pytest.param("* * * *", "UTC", id="four"),
        pytest.param("* * 31 2 *", "UTC", id="no-such-day"),
        pytest.param("@daily", "Mars/Olympus", id="zone"),
        pytest.param("@daily", "../etc/passwd", id="path"),
        pytest.param("@daily", "Europe", id="folder"),
    ],
)
def test_what_is_none_is_refused(expression: str, zone: str) -> None:
    """An expression or a zone that is none raises, and says so."""
    with pytest.raises(ValueError, match=r"Bad|Wrong|expected the name of a time zone"):
        Timetable(expression, zone)


def test_a_long_time_costs_as_little_as_a_short_one() -> None:
    """The newest due times of ten years are found without a look at five million others."""
    table, end = Timetable("* * * * *", "Europe/Berlin"), at("2026-06-01 00:00")
    began = time.process_time()
    found = table.between(end - 10 * 365 * 86400, end, 100)
    assert time.process_time() - began < 1.0  # all five million take a minute
    assert found.more
    assert found.times == tuple(end - 60 * back for back in reversed(range(100)))


FIELDS = st.one_of(
    st.just("*"),
    st.integers(1, 6).map(str),
    st.tuples(st.integers(1, 3), st.integers(4, 6)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    st.integers(1, 7).map(lambda step: f"*/{step}"),
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(FIELDS, min_size=5, max_size=5), st.sampled_from(ZONES), st.integers(0, 366 * 24 * 60), st.integers(0, 90)
)
def test_any_part_is_part_of_the_whole(fields: list[str], zone: str, minute: int, hours: int) -> None:
    """Due times increase, no part of them depends on where one begins to look, and each is one by the clock."""
    table, begin = Timetable(" ".join(fields), zone), at("2026-01-01 00:00") + 60 * minute
    end = begin + 3600 * hours
    whole = table.between(begin, end, 10_000)
    assert not whole.more
    assert list(whole.times) == sorted(set(whole.times))
    newest = table.between(begin, end, 3)
    assert newest.times == whole.times[-3:]
    assert newest.more == (len(whole.times) > 3)
    assert all(one % 60 == 0 for one in whole.times)
