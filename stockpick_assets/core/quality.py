"""Whether every expected minute of every ticker was answered, and how: what the asset checks report.

What does not belong here: how a reason is decided (answers.py), or reading the rows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.core.reasons import Reason

UNANSWERED = "unanswered"  # stands among the reasons for a minute that has no row

FINAL = frozenset(reason.value for reason in Reason if reason.final)

_TICKERS_NAMED = 3


@dataclass(frozen=True)
class Coverage:
    """What became of the expected minutes of some tickers.

    reasons: how many have each reason, the unanswered included. unexplained: by ticker, the minutes that have no row
    or whose reason is not final, ascending.
    """

    expected: int
    reasons: Mapping[str, int]
    unexplained: Mapping[str, tuple[datetime, ...]]

    @property
    def complete(self) -> bool:
        """Whether every expected minute has a final reason."""
        return not self.unexplained

    @property
    def text(self) -> str:
        """All of it in one line."""
        counts = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        line = f"{self.expected} expected: {counts}" if self.expected else "nothing was expected"
        if self.complete:
            return line
        named = [
            f"{ticker} {minute_label(minutes[0])}{f' and {len(minutes) - 1} more' if len(minutes) > 1 else ''}"
            for ticker, minutes in list(self.unexplained.items())[:_TICKERS_NAMED]
        ]
        others = len(self.unexplained) - len(named)
        missing = sum(map(len, self.unexplained.values()))
        return f"{line}; {missing} unexplained: {'; '.join(named)}{f'; {others} more tickers' if others else ''}"


def coverage(rows: pa.Table, tickers: Sequence[str], minutes: Iterable[datetime]) -> Coverage:
    """Hold the newest rows of `raw_prices` (ticker, minute and reason) against what was expected.

    Rows of other tickers or minutes are not looked at; of a repeated one the last counts.
    """
    # Minutes as seconds: 39,000 of them as datetimes take 0.14 s, all the rest 0.05 s.
    seconds = rows["minute"].cast(pa.timestamp("s", tz="UTC")).cast(pa.int64()).to_pylist()
    columns = (rows["ticker"].to_pylist(), seconds, rows["reason"].to_pylist())
    answered = {(ticker, second): str(reason) for ticker, second, reason in zip(*columns, strict=True)}
    expected = {int(minute.timestamp()): minute for minute in sorted(minutes)}
    reasons: Counter[str] = Counter()
    unexplained: dict[str, tuple[datetime, ...]] = {}
    for ticker in tickers:
        of_ticker = {second: answered.get((ticker, second), UNANSWERED) for second in expected}
        reasons.update(of_ticker.values())
        if not FINAL.issuperset(of_ticker.values()):
            unexplained[ticker] = tuple(expected[second] for second, reason in of_ticker.items() if reason not in FINAL)
    return Coverage(len(expected) * len(tickers), dict(reasons.most_common()), unexplained)
