"""Ticks of the alerts' sensor over hand-made picks, one after the other."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from stockpick_assets.core.alerts import alerts_from
from stockpick_assets.core.rules import RULES
from stockpick_assets.resources.kafka import BrokerError
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.now import Now
from stockpick_assets.sensors.alerts import Tick, Watch
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import TICKERS, minute, pick, table
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, at
from stockpick_assets_tests.webhook import Webhook

SECOND = timedelta(seconds=1)


@dataclass
class FakePosition:
    """How far a relay that does not exist has come; away where `fails` says why."""

    at: datetime | None = None
    fails: str = ""
    asked: int = 0

    def next_minute(self) -> datetime | None:
        """As RelayPosition."""
        self.asked += 1
        if self.fails:
            raise BrokerError(self.fails)
        return self.at


class Ticking:
    """Ticks of one sensor of some rules, whose cursor goes from each to the next as the daemon hands it on."""

    instance = dg.DagsterInstance.ephemeral()  # one for all: to make one takes 0.2 s

    def __init__(self, store: Store, *urls: str, rules: tuple[str, ...] = ("new_best",)) -> None:
        self._store = store
        self.notifier = Notifier(" ".join(urls))
        self._rules = [rule for rule in RULES if rule.name in rules]
        self.position = FakePosition(SESSION.close)
        self.cursor: str | None = None

    def remembers(self, market: datetime, **values: Any) -> None:
        """Change what the sensor remembers at that market time."""
        watch = Watch.resumed(self.cursor, market, at(market).wall())
        self.cursor = replace(watch, **values).cursor()

    def tick(self, market: datetime | Now) -> str:
        """One tick at market time `market`; returns what a person reads of it."""
        now = market if isinstance(market, Now) else at(market)
        tick = Tick(FLOW, self._rules, self._store, self.instance, self.notifier, self.position, now)
        watch, said = tick.done(self.cursor)
        self.cursor = watch.cursor()
        return said

    def ticks(self, first: datetime, last: datetime, every: timedelta) -> None:
        """Tick from one market time to another."""
        while first <= last:
            self.tick(first)
            first += every


def best(store: Store, index: int, ticker: str, **values: float) -> None:
    others = [pick(minute(index), other) for other in TICKERS if other != ticker]
    store.append("picks", table([pick(minute(index), ticker, 1, **values), *others]), {})


def statuses(store: Store) -> list[tuple[str | None, str]]:
    return [(alert.ticker, alert.status) for alert in sorted(alerts_from(store.read("alerts")), key=lambda a: a.minute)]


def titles(webhook: Webhook) -> list[str]:
    return [received["title"].removeprefix("SIMULATED: ") for received in webhook.received]
