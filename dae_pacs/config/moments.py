"""Days and hours as a person writes them: "today", "last 3 days", "20-06"."""

import re
from datetime import date, datetime, time, timedelta
from typing import Final

_DAY: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_LAST: Final = re.compile(r"last (\d{1,4}) days?")
_RANGE: Final = re.compile(r"([0-9-]*?)(?:\.\.)([0-9-]*)|(\d{8})-(\d{8})")
_TIME: Final = re.compile(r"([01]?\d|2[0-4])(?::([0-5]\d))?")
_DAY_MINUTES: Final = 24 * 60


def date_range(text: str, today: date) -> str:
    """Say days as a query's range (PS3.4 C.2.2.2.5.1): "20260101-20260103".

    Args:
        text: "today", "yesterday", "last 3 days" (today and the two before), a day as 2026-01-05 or
            20260105, or two days with .. between them, one of which may be left out.
        today: the day that it is.

    Raises:
        ValueError: it is nothing of this.
    """
    text = text.strip().casefold()
    if text == "today":
        return f"{today:%Y%m%d}"
    if text == "yesterday":
        return f"{today - timedelta(days=1):%Y%m%d}"
    if match := _LAST.fullmatch(text):
        first = today - timedelta(days=max(int(match[1]), 1) - 1)
        return f"{first:%Y%m%d}-{today:%Y%m%d}"
    if match := _RANGE.fullmatch(text):
        first_day, last_day = match[1] or match[3], match[2] or match[4]
        if first_day or last_day:
            return f"{_day(first_day) if first_day else ''}-{_day(last_day) if last_day else ''}"
    return _day(text)


def _day(text: str) -> str:
    match = _DAY.fullmatch(text)
    if match is None:
        raise ValueError(
            'give today, yesterday, "last 3 days", a day such as 2026-01-05, or 2026-01-01..2026-01-31'
        )
    return f"{date(int(match[1]), int(match[2]), int(match[3])):%Y%m%d}"


def minutes_of(text: str) -> int:
    """Read a time of the day, "6", "06" or "06:30", as minutes since midnight.

    Raises:
        ValueError: it is none.
    """
    match = _TIME.fullmatch(text.strip())
    minutes = int(match[1]) * 60 + int(match[2] or 0) if match else _DAY_MINUTES + 1
    if minutes > _DAY_MINUTES:
        raise ValueError("give a time of the day, such as 20:30")
    return minutes


def hours_of(text: str) -> tuple[int, int]:
    """Read hours of the day, "20-06" or "20:30-06:15", as minutes since midnight.

    Raises:
        ValueError: they are none, or nothing lies between them.
    """
    first, separator, last = text.partition("-")
    if not separator:
        raise ValueError("give two times of the day with a hyphen between them, such as 20-06")
    begin, end = minutes_of(first), minutes_of(last)
    if begin % _DAY_MINUTES == end % _DAY_MINUTES:
        raise ValueError("give two different times of the day, such as 20-06")
    return begin % _DAY_MINUTES, end % _DAY_MINUTES


def is_within(hours: str, moment: datetime) -> bool:
    """Tell whether a moment lies in hours of the day, which may go over midnight."""
    begin, end = hours_of(hours)
    now = moment.hour * 60 + moment.minute
    return begin <= now < end if begin < end else now >= begin or now < end


def last_time(text: str, moment: datetime) -> datetime:
    """Say when a time of the day was last, at the latest now."""
    minutes = minutes_of(text) % _DAY_MINUTES
    today = datetime.combine(moment.date(), time(minutes // 60, minutes % 60), tzinfo=moment.tzinfo)
    return today if today <= moment else today - timedelta(days=1)
