"""What an alert says: what happened, the numbers, why it is an alert, and where to look.

Plain text, a line each. Text from outside goes through `outside`, so that it stays text of a bounded length; nothing is
ever a template. What does not belong here: when something is an alert (rules.py).
"""

import re
from collections.abc import Mapping
from typing import Any

from stockpick_assets.core.labels import BASIS_POINTS
from stockpick_assets.core.links import LinkError, Links
from stockpick_assets.core.market_hours import minute_label
from stockpick_assets.core.messages import first_of, one_line
from stockpick_assets.core.observations import FailedRun
from stockpick_assets.core.rules import Observation, Rule, Subject

LONGEST_REASON = 200
MOST_NAMED = 8
_LOGIN = re.compile(r"//[^/\s]*@")


def label(source: str) -> str:
    """What every text says before it speaks of prices that are not the market's now; nothing for Yahoo's."""
    return "" if source == "yahoo" else f"{source.upper()}: "


def outside(text: str, longest: int = LONGEST_REASON) -> str:
    """Text from outside as a chat may show it: one line without the login of an address, that calls nobody."""
    return one_line(_LOGIN.sub("//", text), longest).replace("@", "(at)")


def alert_text(rule: Rule, seen: Observation, links: Links) -> str:
    """The text of an alert; its first line is the title."""
    lines = _OF_RULE[rule.name](rule, seen)
    return "\n".join([label(links.source) + lines[0], *lines[1:], _link(rule, seen, links)])


def _new_best(rule: Rule, seen: Observation) -> list[str]:
    row, before = seen.facts, seen.facts["before"]
    why = f"Ranked first of {row['tickers']} tickers"
    why += f", where {outside(before, 40)} was before." if before and before != seen.about else "."
    title = f"{_ticker(seen)} is the new best pick of {_at(seen)}"
    return [title, *_doubt(row), _numbers(row), f"{why} {_begins(rule)}"]


def _likely(rule: Rule, seen: Observation) -> list[str]:
    title = f"{_ticker(seen)} has a probability of profit of {seen.value:.1%} at {_at(seen)}"
    return [title, *_doubt(seen.facts), _numbers(seen.facts), _begins(rule)]


def _move(rule: Rule, seen: Observation) -> list[str]:
    title = f"{_ticker(seen)} moved {seen.facts['change_5m'] * 100:+.2f} % in the five minutes to {_at(seen)}"
    return [title, *_doubt(seen.facts), _numbers(seen.facts), _begins(rule)]


def _abstain(rule: Rule, seen: Observation) -> list[str]:
    said = [f"{count} tickers: {outside(reason)}." for reason, count in seen.facts["reasons"]]
    title = f"The model abstains: {seen.facts['abstain']} of {seen.facts['tickers']} picks of {_at(seen)}"
    return [title, *said, f"The picks go out all the same, with the mark. {_begins(rule)}"]


def _quality(rule: Rule, seen: Observation) -> list[str]:
    facts = seen.facts
    without = [outside(ticker, 40) for ticker in facts["without"]]
    reasons = ", ".join(f"{count} {outside(reason, 40)}" for reason, count in facts["reasons"])
    return [
        f"{facts['present']} of {facts['listed']} listed tickers have a bar of {_at(seen)}",
        f"Without: {first_of(without, MOST_NAMED)} ({reasons}).",
        f"Below {rule.unit.said(rule.threshold or 0.0)} is an alert. `stockpick quality` shows the session.",
    ]


def _silent(rule: Rule, seen: Observation) -> list[str]:
    sent = seen.facts["next"]
    until = "Nothing was ever sent" if sent is None else f"The next minute to be sent is {minute_label(sent)}"
    return [
        f"No message has been published for {seen.facts['minutes']:.0f} market minutes",
        f"{until}; it is {minute_label(seen.facts['now'])} in New York, and the market is open. {_begins(rule)}",
        "Look at the newest runs of the job live, and at the sensors live and relay.",
    ]


def _broker(rule: Rule, seen: Observation) -> list[str]:
    title = f"Kafka has not been reached for {seen.facts['seconds']:.0f} s"
    return [title, f"{outside(seen.facts['why'])}.", f"Messages wait in the tables until it is back. {_begins(rule)}"]


def _store(rule: Rule, seen: Observation) -> list[str]:
    title = f"The tables have not been read or written for {seen.facts['seconds']:.0f} s"
    return [title, f"{outside(seen.facts['why'])}.", f"No minute is answered until they are. {_begins(rule)}"]


def _failed_run(rule: Rule, seen: Observation) -> list[str]:
    run: FailedRun = seen.facts["run"]
    of_step = f"Step {outside(run.step, 60)}: " if run.step else ""
    minutes = f"{rule.cooldown.total_seconds() / 60:.0f}"
    return [
        f"Run {outside(run.run_id[:8])} of {outside(run.job, 60)} failed",
        f"{of_step}{outside(run.error)}",
        f"Another failure of this job is an alert after {minutes} minutes.",
    ]


_OF_RULE = {
    "new_best": _new_best,
    "likely": _likely,
    "move": _move,
    "abstain": _abstain,
    "quality": _quality,
    "silent": _silent,
    "broker": _broker,
    "store": _store,
    "failed_run": _failed_run,
}


def _ticker(seen: Observation) -> str:
    return outside(seen.about, 40)


def _at(seen: Observation) -> str:
    return f"{minute_label(seen.minute)} New York"


def _begins(rule: Rule) -> str:
    assert rule.threshold is not None
    assert rule.clear is not None
    return f"Alerts begin at {rule.unit.said(rule.threshold)}, and again after {rule.unit.said(rule.clear)}."


def _doubt(row: Mapping[str, Any]) -> list[str]:
    return [f"Not to be relied on: {outside(row['abstain'])}."] if row["abstain"] else []


def _numbers(row: Mapping[str, Any]) -> str:
    parts = [
        *([] if row["p_profit"] is None else [f"probability of profit {row['p_profit']:.1%}"]),
        *_said("expected obtainable return", row["expected_obtainable_return"], BASIS_POINTS, " bp before cost"),
        *_said("expected excess return", row["expected_excess_return"], BASIS_POINTS, " bp"),
        *([] if row["price"] is None else [f"price {row['price']:.2f}"]),
        *_said("today", row["change_day"], 100, " %"),
        *_said("last 5 minutes", row["change_5m"], 100, " %"),
    ]
    return f"{'; '.join(parts)}."


def _said(name: str, value: float | None, scale: float, unit: str) -> list[str]:
    return [] if value is None else [f"{name} {value * scale:+.2f}{unit}"]


def _link(rule: Rule, seen: Observation, links: Links) -> str:
    try:
        if rule.name == "failed_run":
            return links.run(seen.facts["run"].run_id)
        if rule.subject is Subject.QUALITY:
            return links.asset("raw_prices", "checks")
        if rule.subject is Subject.PICKS and "before" in seen.facts:
            return links.ticker(seen.about, seen.minute)
        return links.picks()
    except LinkError as error:
        return f"no link: {outside(str(error))}"
