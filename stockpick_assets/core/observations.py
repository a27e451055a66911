"""What the rules of alerts are held against, made from picks, bars, and the state of the platform.

Pure: rows and times are arguments. What does not belong here: reading them (sensors/alerts.py), or whether one is worth
an alert (rules.py).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from stockpick_assets.core.market_hours import MINUTE, last_session_begun
from stockpick_assets.core.quality import FEW, AnswerMatrix
from stockpick_assets.core.rules import Observation

PICK_COLUMNS = (
    "minute",
    "ticker",
    "rank",
    "price",
    "change_day",
    "change_5m",
    "p_profit",
    "expected_excess_return",
    "expected_obtainable_return",
    "abstain",
)
# A ticker that was the best is not new again before it has left the first five: the best of a hundred that are nearly
# alike would otherwise be news whenever two of them change places.
STILL_AMONG_THE_BEST = 5
EVERY_TICKER = "all"


@dataclass(frozen=True)
class FailedRun:
    """A run of Dagster that failed. step: the first that did; None where none had begun. error: its first line.

    ended: market time.
    """

    run_id: str
    job: str
    step: str | None
    error: str
    ended: datetime


def of_picks(picks: pa.Table, after: datetime) -> Iterator[Observation]:
    """What picks are to the rules new_best, likely, move and abstain.

    picks: PICK_COLUMNS of whole minutes, key order. Minutes up to `after` were observed before, and only say which
    ticker was the best before.
    """
    rows = picks.select(list(PICK_COLUMNS)).to_pylist()
    before: str | None = None
    for minute, of_minute in _by_minute(rows):
        best = next((row["ticker"] for row in of_minute if row["rank"] == 1), None)
        if minute > after:
            yield from _of_minute(minute, of_minute, before)
        before = best or before


def _of_minute(minute: datetime, rows: Sequence[dict[str, Any]], before: str | None) -> Iterator[Observation]:
    for row in rows:
        facts = {**row, "tickers": len(rows), "before": before}
        moved = None if row["change_5m"] is None else abs(row["change_5m"])
        for rule, value in (("new_best", _as_best(row)), ("likely", row["p_profit"]), ("move", moved)):
            yield Observation(rule, row["ticker"], minute, minute, value, facts)
    reasons = Counter(row["abstain"] for row in rows if row["abstain"] is not None)
    facts = {"tickers": len(rows), "abstain": reasons.total(), "reasons": reasons.most_common(2)}
    yield Observation("abstain", EVERY_TICKER, minute, minute, reasons.total() / len(rows), facts)


def _as_best(row: dict[str, Any]) -> float | None:
    """p_profit of the best pick; None for one that still is among the best, 0 for any other."""
    if row["rank"] is None or row["rank"] > STILL_AMONG_THE_BEST:
        return 0.0
    return row["p_profit"] if row["rank"] == 1 else None


def of_bars(answers: AnswerMatrix) -> Iterator[Observation]:
    """What the bars of each minute are to the rule quality: the share of the listed tickers that has one.

    That share is one where all but FEW have a bar: of three tickers one without a trade is no sign of anything.
    """
    listed, present, reasons = answers.listed, answers.present, answers.reasons
    for place, minute in enumerate(answers.minutes):
        missing = np.flatnonzero(listed[place] & ~present[place])
        of_listed = int(listed[place].sum())
        value = 1.0 if len(missing) <= FEW else 1 - len(missing) / of_listed
        facts: dict[str, Any] = {
            "listed": of_listed,
            "present": of_listed - len(missing),
            "without": [answers.tickers[ticker] for ticker in missing],
            "reasons": Counter(reasons[place, missing].tolist()).most_common(),
        }
        yield Observation("quality", EVERY_TICKER, minute, minute, value, facts)


def of_silence(published_until: datetime | None, since: datetime, now: datetime, speed: float) -> Observation:
    """How long nothing was published, to the rule silent: market minutes, of a fast clock wall minutes.

    published_until: the next minute to send; None where none was sent. since: market time from which that was watched.
    Outside market hours it is no time at all.
    """
    session = last_session_begun(now)
    sent = published_until if published_until is not None and published_until <= now else session.open
    heard = max(session.open, since, sent)
    quiet = (now - heard) / MINUTE / max(1.0, speed) if now < session.close else 0.0
    facts = {"minutes": (now - heard) / MINUTE, "next": published_until, "now": now}
    return Observation("silent", "messages", _minute(heard), now, max(quiet, 0.0), facts)


def of_reaching(rule: str, away_for: timedelta, now: datetime, began: datetime, why: str) -> Observation:
    """Whether what the rule is named for is reached. away_for: wall time. began: market time at which it went away."""
    seconds = away_for.total_seconds()
    return Observation(rule, rule, _minute(began), now, seconds, {"seconds": seconds, "why": why})


def of_run(run: FailedRun) -> Observation:
    """A run that failed, to the rule failed_run; it is about the run's job."""
    return Observation("failed_run", run.job, _minute(run.ended), run.ended, None, {"run": run}, run.run_id[:8])


def _by_minute(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[datetime, list[dict[str, Any]]]]:
    for minute, of_minute in groupby(rows, key=lambda row: row["minute"]):
        yield minute, list(of_minute)


def _minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)
