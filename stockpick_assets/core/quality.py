"""Whether every expected minute of every ticker was answered, and how well: what the asset checks report.

What does not belong here: how a reason or a quarantine is decided (answers.py), reading the rows, or a session's table
(session_quality.py).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.core.messages import one_line
from stockpick_assets.core.reasons import Reason

UNANSWERED = "unanswered"  # stands among the reasons for a minute that has no row

FINAL = frozenset(reason.value for reason in Reason if reason.final)

# A minute that could have no bar, whoever was asked, says nothing of how good the data is.
EXCUSED = frozenset({Reason.CLOSED, Reason.NOT_LISTED, Reason.HALTED, Reason.DELISTED})

# Share of the listed tickers with a bar. In 25 sessions of 101 simulated tickers, whose gaps are as frequent as those
# of Yahoo's (62 % of ticker-sessions complete), the thinnest minute had 91 %.
COVERAGE_FLOOR = 0.8
# Share of the bars whose volume is withheld or zero. Of 23,000 clean bars of Yahoo 7 were, at most 0.3 % of a ticker's
# in a session; of a session whose volumes alternate with zeros it is half.
VOLUME_LIMIT = 0.05
# Ticker-minutes one after the other without a bar: half an hour of one ticker, a minute of thirty. The longest gap in
# 23,000 clean bars of Yahoo was 5 minutes. A ticker that trades in half of its minutes, the least that was seen of
# Yahoo, is silent for so long once in a billion times.
SILENCE_LIMIT = 30
USUALLY = 0.5
# So many of anything are ordinary, of however few: one ticker without a trade is all of a run of one ticker.
FEW = 2

_NAMED = 3
_WORDS = (*(reason.value for reason in Reason), UNANSWERED)
_PRESENT, _QUARANTINED, _UNANSWERED = map(_WORDS.index, (Reason.PRESENT, Reason.QUARANTINED, UNANSWERED))

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class AnswerMatrix:
    """The newest row of each expected minute × ticker, laid out as a matrix of minutes × tickers.

    minutes: ascending. rows: of `raw_prices`, with the columns that were read. places: the number of each one's row, -1
    where there is none. words: each one's reason, as its place among all of them and UNANSWERED.
    """

    tickers: tuple[str, ...]
    minutes: tuple[datetime, ...]
    rows: pa.Table
    places: Indices
    words: Indices

    @classmethod
    def of(cls, rows: pa.Table, tickers: Sequence[str], minutes: Iterable[datetime]) -> "AnswerMatrix":
        """Hold the newest rows of `raw_prices` (ticker, minute and reason at least) against what was expected.

        Rows of other tickers or minutes are not looked at; of a repeated one the last counts. A row whose reason is
        none of `Reason` is no answer.
        """
        expected = tuple(sorted(minutes))
        starts = np.array([minute.astimezone(UTC).replace(tzinfo=None) for minute in expected], "datetime64[us]")
        stamps = rows["minute"].cast(pa.timestamp("us")).to_numpy()
        minute = np.searchsorted(starts, stamps)
        ticker = _places_in(rows["ticker"], tickers, -1)
        inside = np.flatnonzero((ticker >= 0) & np.isin(stamps, starts))
        places = np.full((len(expected), len(tickers)), -1)
        places[minute[inside], ticker[inside]] = inside
        words = np.append(_places_in(rows["reason"], _WORDS, _UNANSWERED), _UNANSWERED)[places]
        return cls(tuple(tickers), expected, rows, places, words)

    @property
    def present(self) -> Flags:
        """Which have a bar."""
        return self.words == _PRESENT

    @property
    def listed(self) -> Flags:
        """Which could have a bar: all but those of EXCUSED."""
        return np.array([word not in EXCUSED for word in _WORDS])[self.words]

    @property
    def unexplained(self) -> Flags:
        """Which have no row, or a reason that is not final."""
        return np.array([word not in FINAL for word in _WORDS])[self.words]

    @property
    def withheld(self) -> Flags:
        """Which have a bar whose volume is not believed."""
        return self.present & np.isnan(self.column("volume", np.nan))

    @property
    def unsized(self) -> Flags:
        """Which have a bar whose volume is withheld or zero."""
        return self.present & ~(self.column("volume", np.nan) > 0)

    def column(self, name: str, nothing: Any) -> NDArray[Any]:
        """A column's values, `nothing` where there is no row."""
        return np.append(self.rows[name].to_numpy(), nothing)[self.places]

    @property
    def reasons(self) -> NDArray[Any]:
        """The reason of each, as text."""
        return np.array(_WORDS)[self.words]

    def counts(self, tickers: slice = slice(None)) -> dict[str, int]:
        """How many have each reason, the most frequent first; of those tickers alone."""
        counted = np.bincount(self.words[:, tickers].ravel(), minlength=len(_WORDS)).tolist()
        reasons = Counter({word: count for word, count in zip(_WORDS, counted, strict=True) if count})
        return dict(reasons.most_common())


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
        missing = sum(map(len, self.unexplained.values()))
        return f"{line}; {missing} unexplained: {_named(self.unexplained)}"


def coverage(rows: pa.Table, tickers: Sequence[str], minutes: Iterable[datetime]) -> Coverage:
    """What became of the expected minutes, of the newest rows of `raw_prices`: see `AnswerMatrix.of`."""
    return coverage_of(AnswerMatrix.of(rows, tickers, minutes))


def coverage_of(answers: AnswerMatrix) -> Coverage:
    """What became of the expected minutes."""
    return Coverage(answers.words.size, answers.counts(), _by_ticker(answers, answers.unexplained))


@dataclass(frozen=True)
class Finding:
    """What one look at the answers found: whether all is well, one line for a person, and the numbers it rests on."""

    passed: bool
    text: str
    numbers: Mapping[str, float]


def answered(answers: AnswerMatrix) -> Finding:
    """Every expected minute has a bar, or a final reason for having none."""
    found = coverage_of(answers)
    unexplained = sum(map(len, found.unexplained.values()))
    return Finding(
        found.complete, found.text, {"expected": found.expected, "unexplained": unexplained, **found.reasons}
    )


def covered(answers: AnswerMatrix) -> Finding:
    """In every minute at least COVERAGE_FLOOR of the listed tickers have a bar, or all but FEW."""
    listed, present = answers.listed.sum(axis=1), answers.present.sum(axis=1)
    thin = (listed - present > FEW) & (present < COVERAGE_FLOOR * listed)
    share = present.sum() / max(listed.sum(), 1)
    asked = np.flatnonzero(listed)
    shares = present[asked] / listed[asked]
    order: list[int] = asked[np.argsort(shares, kind="stable")].tolist()
    numbers = {
        "listed": int(listed.sum()),
        "with a bar": int(present.sum()),
        "minutes below the floor": int(thin.sum()),
    }
    if not asked.size:
        return Finding(True, "no ticker was listed while the exchange was open", numbers)
    thinnest = [f"{minute_label(answers.minutes[minute])} {present[minute]} of {listed[minute]}" for minute in order]
    text = f"{share:.1%} of {listed.sum()} listed ticker-minutes have a bar; thinnest {thinnest[0]}"
    if thin.any():
        named = [label for label, minute in zip(thinnest, order, strict=True) if thin[minute]]
        text = f"{text}; {thin.sum()} minutes below {COVERAGE_FLOOR:.0%}: {_few(named, 'minutes')}"
    numbers |= {"coverage": round(float(share), 4), "thinnest minute": round(float(shares.min()), 4)}
    return Finding(not thin.any(), text, numbers)


def sized(answers: AnswerMatrix) -> Finding:
    """At most VOLUME_LIMIT of the bars, of all and of each ticker's, or FEW, have a volume that is withheld or zero."""
    present, withheld, unsized = answers.present, answers.withheld, answers.unsized
    bars, zero = int(present.sum()), int((unsized & ~withheld).sum())
    rules = _rules(answers, withheld)
    by_rule = f" ({_counted(rules)})" if rules else ""
    text = f"{bars} bars: {int(withheld.sum())} with their volume withheld{by_rule}, {zero} with none"
    wrong = _too_many(unsized.sum(axis=0), present.sum(axis=0))
    passed = not (wrong.any() or _too_many(unsized.sum(), bars))
    if not passed:
        chosen = unsized & wrong if wrong.any() else unsized
        text = f"{text}; more than {VOLUME_LIMIT:.0%} of {_named(_by_ticker(answers, chosen))}"
    numbers = {
        "bars": bars,
        "volume withheld": int(withheld.sum()),
        "volume zero": zero,
        "tickers above the limit": int(wrong.sum()),
    }
    return Finding(passed, text, numbers | _as_numbers(rules))


def believed(answers: AnswerMatrix) -> Finding:
    """No bar is quarantined."""
    quarantined = answers.words == _QUARANTINED
    numbers = {"bars": int(answers.present.sum()), "quarantined": int(quarantined.sum())}
    if not quarantined.any():
        return Finding(True, f"{numbers['bars']} bars, none quarantined", numbers)
    rules = _rules(answers, quarantined)
    named = _named(_by_ticker(answers, quarantined))
    text = f"{numbers['quarantined']} bars quarantined: {_counted(rules)}: {named}"
    return Finding(False, text, numbers | _as_numbers(rules))


def fresh(answers: AnswerMatrix) -> Finding:
    """No ticker that usually trades, and not all of them together, are without a bar for SILENCE_LIMIT ticker-minutes.

    A bar that is quarantined was heard as well. A ticker of which a run has no bar is taken for one that usually
    trades. A run of fewer minutes than the limit can only tell of all tickers together.
    """
    listed, heard = answers.listed, answers.present | (answers.words == _QUARANTINED)
    to_come = heard[::-1].cumsum(axis=0)[::-1]
    since = (listed & (to_come == 0)).sum(axis=0)
    usually = heard.sum(axis=0) >= USUALLY * (listed.sum(axis=0) - since)
    stale = (since >= SILENCE_LIMIT) & usually
    newest = _newest(heard.any(axis=1))
    rest = listed[newest + 1 :]
    age = int(rest.any(axis=1).sum())
    text = f"newest bar of any ticker: {_silence(answers, newest, age)}"
    if stale.any():
        silent: list[int] = sorted(np.flatnonzero(stale).tolist(), key=lambda ticker: -since[ticker])
        silences = [
            f"{answers.tickers[ticker]}: {_silence(answers, _newest(heard[:, ticker]), since[ticker])}"
            for ticker in silent
        ]
        text = f"{text}; silent: {_few(silences, 'tickers')}"
    numbers = {
        "newest bar age": age,
        "silent tickers": int(stale.sum()),
        "longest silence": int(since.max(initial=0)),
    }
    return Finding(int(rest.sum()) < SILENCE_LIMIT and not stale.any(), text, numbers)


def _rules(answers: AnswerMatrix, chosen: Flags) -> Counter[str]:
    """How many of the chosen places broke each rule: their details begin with its name."""
    details = answers.rows["detail"].take(answers.places[chosen]).to_pylist()
    return Counter(_rule_of(detail or "") for detail in details)


def _rule_of(detail: str) -> str:
    name, colon, _ = detail.partition(":")
    return one_line(name) if colon else "no rule named"


def _counted(rules: Counter[str]) -> str:
    return _few([f"{count} {rule}" for rule, count in rules.most_common()], "rules")


def _as_numbers(rules: Counter[str]) -> dict[str, int]:
    return {f"rule {rule}": count for rule, count in rules.items()}


def _places_in(column: Any, words: Sequence[str], otherwise: int) -> Indices:
    """The place of each value of an Arrow column among the words, `otherwise` where it is none of them."""
    known = {word: place for place, word in enumerate(words)}
    return np.array([known.get(value, otherwise) for value in column.to_pylist()], dtype=np.int64)


def _too_many(count: Any, bars: Any) -> Any:
    return (count > FEW) & (count > VOLUME_LIMIT * bars)


def _newest(heard: Flags) -> int:
    """The last place that is true; -1 where none is."""
    return int(np.flatnonzero(heard)[-1]) if heard.any() else -1


def _by_ticker(answers: AnswerMatrix, chosen: Flags) -> dict[str, tuple[datetime, ...]]:
    """By ticker, the minutes of the chosen places."""
    return {
        answers.tickers[place]: tuple(answers.minutes[minute] for minute in np.flatnonzero(chosen[:, place]))
        for place in np.flatnonzero(chosen.any(axis=0))
    }


def _named(minutes: Mapping[str, Sequence[datetime]]) -> str:
    """A few tickers, each with its first minute, and how many there are beside."""
    return _few(
        [
            f"{ticker} {minute_label(of[0])}{f' and {len(of) - 1} more' if len(of) > 1 else ''}"
            for ticker, of in minutes.items()
        ],
        "tickers",
    )


def _few(texts: Sequence[str], things: str) -> str:
    more = len(texts) - _NAMED
    return "; ".join([*texts[:_NAMED], *([f"{more} more {things}"] if more > 0 else [])])


def _silence(answers: AnswerMatrix, newest: int, since: int) -> str:
    """When the newest bar was, by its minute's place, and for how many minutes there has been none."""
    return f"{minute_label(answers.minutes[newest])}, {since} min old" if newest >= 0 else f"none in {since} min"
