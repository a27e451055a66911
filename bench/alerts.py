"""How many alerts a session of 100 tickers comes to, how long a tick of their sensor takes, and how they arrive.

The picks are made up: p_profit drifts about 46 % with a deviation of 2 points, and prices walk 0.06 % a minute. Each
minute is judged by every rule in a tick of its own, on tables in a folder that hold the whole session in one commit,
with a webhook of this process as the channel. The baseline is the same picks judged by the same rules without cooldown
and with nothing between threshold and clearing. One text of each rule is printed as the webhook received it, then one
JSON object as last line.

    .venv/bin/python bench/alerts.py --minutes 390
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
from common import report

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.alerts import Parcel, Status, alerts_from, raised
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.links import Links
from stockpick_assets.core.market_hours import MINUTE, session_on
from stockpick_assets.core.observations import FailedRun, of_bars, of_picks, of_reaching, of_run, of_silence
from stockpick_assets.core.quality import AnswerMatrix
from stockpick_assets.core.rules import RULES, Judged, Observation, Rule, judge
from stockpick_assets.core.schemas import ALERTS, PICKS, RAW_PRICES
from stockpick_assets.core.universe import Universe
from stockpick_assets.partitions import Window
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.now import Now
from stockpick_assets.sensors.alerts import Tick
from stockpick_assets.store import Store
from stockpick_assets_tests.webhook import Webhook, listening

SESSION = session_on(date(2026, 11, 20))
TICKERS = tuple(f"T{number:03}" for number in range(100))
LINKS = Links("http://127.0.0.1:8501", "http://127.0.0.1:3000", "simulated")
FLOW = Flow("simulated", Window((SESSION,), TICKERS), LINKS, timedelta(seconds=2), 2.0, 7, Universe(fixed=TICKERS))
CLOCK = MarketClock(datetime(2026, 12, 1, 9, 0, tzinfo=UTC), SESSION.open, 1.0)


@dataclass
class Position:
    """A relay that always has sent what there is."""

    now: datetime

    def next_minute(self) -> datetime:
        """Nothing is left."""
        return self.now


def made_up(minutes: int, seed: int) -> list[pa.Table]:
    """The picks of each minute."""
    random = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(random.normal(0, 6e-4, (minutes, len(TICKERS))), axis=0))
    drift = random.normal(0, 0.02, closes.shape)
    for minute in range(1, minutes):
        drift[minute] = 0.95 * drift[minute - 1] + (1 - 0.95**2) ** 0.5 * drift[minute]
    probability = 0.46 + drift
    tables: list[pa.Table] = []
    for index in range(minutes):
        rank = np.argsort(np.argsort(-probability[index])) + 1
        rows = [
            {
                "session": SESSION.date,
                "minute": SESSION.open + index * MINUTE,
                "ticker": ticker,
                "source": "simulated",
                "rank": int(rank[column]),
                "price": closes[index, column],
                "change_day": closes[index, column] / closes[0, column] - 1,
                "change_5m": closes[index, column] / closes[index - 5, column] - 1 if index >= 5 else None,
                "p_profit": probability[index, column],
                "expected_excess_return": (probability[index, column] - 0.46) / 50,
                "expected_obtainable_return": (probability[index, column] - 0.46) / 200,
                "published": True,
            }
            for column, ticker in enumerate(TICKERS)
        ]
        tables.append(pa.Table.from_pylist(rows, schema=PICKS.columns))
    return tables


def bars_of(picks: pa.Table) -> pa.Table:
    """Bars of the same minute and tickers, all present."""
    named = picks.select(["session", "minute", "ticker", "source"]).to_pylist()
    more = {"reason": "present", "fetched_at": SESSION.close}
    return pa.Table.from_pylist([{**row, **more} for row in named], schema=RAW_PRICES.columns)


def plain(rule: Rule) -> Rule:
    """The rule without cooldown and with nothing between threshold and clearing."""
    return replace(rule, clear=rule.threshold, cooldown=timedelta(0))


def run(picks: Sequence[pa.Table], folder: Path, webhook: Webhook) -> dict[str, Any]:
    """Write the picks and judge them minute by minute; returns the figures."""
    store = Store(str(folder), "simulated", {})
    notifier = Notifier(webhook.url)
    cursor, largest, took = None, 0, list[float]()
    whole = pa.concat_tables(picks)
    store.append("picks", whole, {})
    store.append("raw_prices", bars_of(whole), {})
    with dg.DagsterInstance.ephemeral() as instance:
        for index in range(len(picks)):
            market = SESSION.open + (index + 1) * MINUTE
            wall = CLOCK.wall_at(market)
            began = time.perf_counter()
            tick = Tick(FLOW, RULES, store, instance, notifier, Position(market), Now(CLOCK, lambda wall=wall: wall))
            watch, _ = tick.done(cursor)
            cursor = watch.cursor()
            largest = max(largest, len(cursor))
            took.append(1000 * (time.perf_counter() - began))
    alerts = alerts_from(store.read_if_written(ALERTS.name))
    return {
        "alerts_sent": sum(alert.status == Status.SENT for alert in alerts),
        "alerts_suppressed": sum(alert.status == Status.SUPPRESSED for alert in alerts),
        "texts_received": len(webhook.received),
        "tick_ms_p50": statistics.median(took),
        "tick_ms_p95": statistics.quantiles(took, n=20)[-1],
        "cursor_largest_bytes": largest,
    }


def samples(picks: Sequence[pa.Table]) -> Iterator[Observation]:
    """An observation of each rule that is an alert."""
    minute = SESSION.open
    found = {
        one.rule: one for one in of_picks(picks[0], minute - MINUTE) if one.rule == "abstain" or one.facts["rank"] == 1
    }
    yield found["new_best"]
    yield replace(found["likely"], value=0.612, facts={**found["likely"].facts, "p_profit": 0.612})
    yield replace(found["move"], facts={**found["move"].facts, "change_5m": -0.0321})
    reasons = [("no edge after cost: the best expected return is 0.6 bp, the cost 2.0 bp", 100)]
    yield replace(found["abstain"], facts={"tickers": 100, "abstain": 100, "reasons": reasons})
    yield next(of_bars(AnswerMatrix.of(bars_of(picks[0].slice(0, 71)), TICKERS, [minute])))
    yield of_silence(minute + MINUTE, minute, minute + 5 * MINUTE, 1.0)
    for rule, why in (
        ("broker", "Kafka at 127.0.0.1:9092 did not answer while asking how far the relay has come (time is up)"),
        ("store", "could not read table picks at s3://stockpick/simulated/picks: connection refused"),
    ):
        yield of_reaching(rule, timedelta(seconds=42), minute + MINUTE, minute, why)
    run_id = "1a2b3c4d-0000-4000-8000-000000000000"
    yield of_run(FailedRun(run_id, "live", "simulated__features", "ValueError: no rows", minute))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=390)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    picks = made_up(arguments.minutes, arguments.seed)
    with listening() as webhook, tempfile.TemporaryDirectory() as folder:
        figures = run(picks, Path(folder), webhook)
        webhook.received.clear()
        rules, now = {rule.name: rule for rule in RULES}, datetime.now(UTC)
        channel = Notifier(webhook.url)
        for seen in samples(picks):
            alert = raised(Judged(rules[seen.rule], seen), LINKS, now)
            channel.deliver({label: [Parcel(alert.title, alert.body, (alert.id,))] for label in channel.channels})
        for received in webhook.received:
            sys.stdout.write(f"{received['title']}\n{received['message']}\n\n")
    observed = [one for of_minute in picks for one in of_picks(of_minute, SESSION.open - MINUTE)]
    began = time.perf_counter()
    judge(RULES, observed, {})
    judging = 1000 * (time.perf_counter() - began) / len(picks)
    every, _ = judge([plain(rule) for rule in RULES], observed, {})
    figures |= {"judge_ms_a_minute": judging, "alerts_without_cooldown_and_hysteresis": len(every)}
    report({"minutes": arguments.minutes, "tickers": len(TICKERS), **figures})


if __name__ == "__main__":
    main()
