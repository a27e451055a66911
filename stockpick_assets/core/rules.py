"""Which observations are worth an alert: the rules as data, and how they judge.

Pure: the same observations and the same memory always give the same answer, so that what was judged before a crash is
judged alike after it. What does not belong here: where observations come from (observations.py), what an alert says
(alert_texts.py), or what becomes of it (alerts.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from stockpick_assets.core.labels import HORIZON
from stockpick_assets.core.market_hours import MINUTE, minute_label, new_york_date
from stockpick_assets.core.messages import one_line
from stockpick_assets.core.quality import COVERAGE_FLOOR

OFF = "off"
# The event of an alert that the cooldown had kept back: what is still away is of the minute of the suppressed one.
AGAIN = "again"


class Subject(StrEnum):
    """What a rule looks at."""

    PICKS = "picks"
    QUALITY = "quality"
    OPERATIONS = "operations"


class Unit(StrEnum):
    """What a rule's numbers are."""

    SHARE = "share"
    MINUTES = "minutes"
    SECONDS = "seconds"

    def said(self, value: float) -> str:
        """The number as a person reads it."""
        return f"{value:.1%}" if self is Unit.SHARE else f"{value:g} {'min' if self is Unit.MINUTES else 's'}"


# Of what a threshold may be set to, both ends included.
LIMITS = {Unit.SHARE: (0.0001, 1.0), Unit.MINUTES: (1.0, 390.0), Unit.SECONDS: (1.0, 3600.0)}


@dataclass(frozen=True)
class Rule:
    """What is worth an alert.

    threshold: a value at it or above turns the rule on for what the value is about, which is an alert. clear: a value
    at it or below turns it off again, and one between the two leaves it as it is. Where `clear` is the higher one, low
    values count: one below the threshold turns it on. Both None: there are no values, each observation is an alert.
    cooldown: for so long after an alert there is no other of the same rule and thing. matters_for: for so long after
    it was seen an alert is worth delivering. Both are market time.
    """

    name: str
    subject: Subject
    says: str
    threshold: float | None
    clear: float | None
    unit: Unit
    cooldown: timedelta
    matters_for: timedelta

    @property
    def low(self) -> bool:
        """Whether low values count."""
        return self.threshold is not None and self.clear is not None and self.clear > self.threshold

    def turned(self, on: bool, value: float | None) -> bool:
        """Whether the rule is on after that value, when it was `on` before."""
        if self.threshold is None or self.clear is None:
            return True
        if value is None:
            return on
        if self.low:
            return value < self.threshold or (on and value < self.clear)
        return value >= self.threshold or (on and value > self.clear)

    def set_to(self, threshold: float) -> "Rule":
        """The rule with another threshold, and `clear` as far from it in proportion."""
        if self.threshold is None or self.clear is None:
            raise ValueError(f"{self.name} has no number; it is on, or {OFF}")
        least, most = LIMITS[self.unit]
        if not least <= threshold <= most:
            raise ValueError(f"{self.name} takes {self.unit} from {least:g} to {most:g}")
        if self.low:
            clear = 1 - (1 - threshold) * (1 - self.clear) / (1 - self.threshold)
        else:
            clear = threshold * self.clear / self.threshold
        return replace(self, threshold=threshold, clear=clear)


# The forecast of a minute ends five minutes after it, with a bar that closes a minute later.
FORECAST_IS_OVER = HORIZON + MINUTE

RULES = (
    Rule(
        "new_best",
        Subject.PICKS,
        "a ticker becomes the best pick, with that probability of profit; again once it has left the first five",
        0.52,
        0.51,
        Unit.SHARE,
        15 * MINUTE,
        FORECAST_IS_OVER,
    ),
    Rule(
        "likely",
        Subject.PICKS,
        "a ticker's probability of profit reaches that",
        0.6,
        0.58,
        Unit.SHARE,
        15 * MINUTE,
        FORECAST_IS_OVER,
    ),
    Rule(
        "move",
        Subject.PICKS,
        "a ticker's price has moved so much in five minutes, up or down",
        0.03,
        0.02,
        Unit.SHARE,
        15 * MINUTE,
        FORECAST_IS_OVER,
    ),
    Rule(
        "abstain",
        Subject.PICKS,
        "that share of a minute's picks is not to be relied on",
        1.0,
        0.5,
        Unit.SHARE,
        120 * MINUTE,
        15 * MINUTE,
    ),
    Rule(
        "quality",
        Subject.QUALITY,
        "less than that share of the listed tickers has a bar of a minute",
        COVERAGE_FLOOR,
        0.9,
        Unit.SHARE,
        30 * MINUTE,
        15 * MINUTE,
    ),
    Rule(
        "silent",
        Subject.OPERATIONS,
        "no message was published for so long in market hours",
        3.0,
        2.0,
        Unit.MINUTES,
        30 * MINUTE,
        30 * MINUTE,
    ),
    Rule(
        "broker",
        Subject.OPERATIONS,
        "Kafka has not been reached for so long",
        30.0,
        0.0,
        Unit.SECONDS,
        30 * MINUTE,
        30 * MINUTE,
    ),
    Rule(
        "store",
        Subject.OPERATIONS,
        "the tables have not been read or written for so long",
        30.0,
        0.0,
        Unit.SECONDS,
        30 * MINUTE,
        30 * MINUTE,
    ),
    Rule(
        "failed_run",
        Subject.OPERATIONS,
        "a run of Dagster failed",
        None,
        None,
        Unit.SHARE,
        10 * MINUTE,
        60 * MINUTE,
    ),
)


def rules_from(text: str) -> tuple[Rule, ...]:
    """RULES, but for what `text` says of some, such as `new_best=0.55, quality=off`.

    Raises ValueError where that makes no sense.
    """
    by_name, chosen = {rule.name: rule for rule in RULES}, dict[str, Rule | None]()
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (piece.strip().lower() for piece in part.partition("="))
        if name not in by_name or name in chosen:
            raise ValueError(f"{one_line(name)!r} is none of {', '.join(by_name)}, or is named twice")
        if value == OFF:
            chosen[name] = None
            continue
        try:
            threshold = float(value)
        except ValueError:
            raise ValueError(f"{name} takes a number, or {OFF}, and not {one_line(value)!r}") from None
        chosen[name] = by_name[name].set_to(threshold)
    return tuple(rule for rule in (by_name | chosen).values() if rule is not None)


@dataclass(frozen=True)
class Observation:
    """What one rule is held against.

    about: the ticker, or the part of the platform. minute: the minute it is of, or that it began in; with the rule and
    `about` it names the alert. at: market time at which it was seen. value: in the rule's unit; None where there is
    none. facts: what the alert's text is made of. event: what tells it from others of the same minute.
    """

    rule: str
    about: str
    minute: datetime
    at: datetime
    value: float | None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)
    event: str = ""


@dataclass(frozen=True)
class Kept:
    """What is remembered of a rule and a thing: whether it is on, since an observation of which day, when there was an
    alert of it last, and whether one is owed that the cooldown kept back.
    """

    on: bool = False
    day: date | None = None
    told_at: datetime | None = None
    owed: bool = False


Memory = Mapping[str, Kept]  # by rule and thing


@dataclass(frozen=True)
class Judged:
    """An observation that is an alert, or would be one but for the reason in `suppressed`."""

    rule: Rule
    observation: Observation
    suppressed: str | None = None


def judge(
    rules: Sequence[Rule], observations: Iterable[Observation], memory: Memory
) -> tuple[list[Judged], dict[str, Kept]]:
    """The alerts that observations come to, in their order, and what to remember for the next ones.

    observations: of each rule and thing in the order of their time. One of a rule that is off is passed over. A new day
    turns every rule off: its first best pick is new. An alert that the cooldown kept back is one as soon as that is
    over, where the rule is still on.
    """
    by_name = {rule.name: rule for rule in rules}
    kept = dict(memory)
    judged: list[Judged] = []
    newest: datetime | None = None
    for seen in observations:
        rule = by_name.get(seen.rule)
        if rule is None:
            continue
        newest = seen.at if newest is None else max(newest, seen.at)
        key, day = f"{seen.rule} {seen.about}", new_york_date(seen.minute)
        before = kept.get(key, Kept())
        if before.day != day:
            before = replace(before, on=False, owed=False)
        on = rule.turned(before.on, seen.value)
        after = replace(before, on=on, day=day, owed=before.owed and on)
        if on and (before.owed or not before.on):
            if before.told_at is not None and seen.at < before.told_at + rule.cooldown:
                after = replace(after, owed=True)
                if not before.on:
                    judged.append(Judged(rule, seen, _too_soon(rule, before.told_at)))
            else:
                after = replace(after, owed=False, told_at=seen.at)
                judged.append(Judged(rule, replace(seen, event=AGAIN) if before.owed else seen))
        if rule.threshold is None:
            after = replace(after, on=False, owed=False)
        kept[key] = after
    return judged, {key: of for key, of in kept.items() if _still_counts(of, by_name.get(key.split()[0]), newest)}


def _too_soon(rule: Rule, told_at: datetime) -> str:
    minutes = rule.cooldown // MINUTE
    return f"within {minutes} min of the alert of {minute_label(told_at)} New York, the cooldown of {rule.name}"


def _still_counts(kept: Kept, rule: Rule | None, newest: datetime | None) -> bool:
    if rule is None:
        return False
    within = kept.told_at is not None and (newest is None or newest < kept.told_at + rule.cooldown)
    return kept.on or within
