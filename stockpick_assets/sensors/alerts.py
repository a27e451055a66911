"""Holds picks, bars and the platform against the rules, and delivers the alerts through the table `alerts`.

Every alert is a row before it is sent, and marked after. While the table cannot be written, alerts are kept in the
cursor, sent from there, and written when it can be. A tick that dies between sending an alert and marking it sends it
again: an alert comes at least once. What does not belong here: the rules (core/rules.py) and their words.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.alert_texts import outside
from stockpick_assets.core.alerts import (
    A_MINUTE,
    Alert,
    Delivery,
    Status,
    alerts_from,
    alerts_table,
    allowed,
    deliveries,
    expired,
    parcels,
    raised,
    settled,
)
from stockpick_assets.core.market_hours import MINUTE, minute_label, new_york_date, session_of
from stockpick_assets.core.observations import PICK_COLUMNS, of_bars, of_picks, of_reaching, of_run, of_silence
from stockpick_assets.core.quality import AnswerMatrix
from stockpick_assets.core.rules import FORECAST_IS_OVER, Kept, Observation, Rule, judge
from stockpick_assets.core.schemas import ALERTS, PICKS, RAW_PRICES
from stockpick_assets.failed_runs import failed_runs
from stockpick_assets.resources.kafka import BrokerError
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.relay_position import RelayPosition
from stockpick_assets.resources.tables import Tables
from stockpick_assets.store import Store, StoreError, TableMissing

NAME = "alerts"
# Dagster gives a tick 60 s. Kafka takes 10 s when it is away, the store 10 and then no more, and the channels 24: three
# texts of 8 s each.
DELIVER_WITHIN = timedelta(seconds=20)
JUDGED_A_TICK = timedelta(days=1)
RUNS_A_TICK = 20
BAR_COLUMNS = ("minute", "ticker", "reason")
# What is kept while the table cannot be written; the oldest go first.
MOST_HELD = 50
LONGEST_ERROR = 500
BROKER_EVERY = timedelta(seconds=15)
# Longer without a tick, and the platform was not running: it gets as long to publish as after its first start.
STOPPED_AFTER = timedelta(minutes=1)


@dataclass(frozen=True)
class Away:
    """What is not reached: since when, in wall time and in market time, and what it answered last."""

    since: datetime
    market: datetime
    why: str


@dataclass(frozen=True)
class Watch:
    """What the sensor remembers from tick to tick: its cursor, as JSON.

    judged: the newest minute of picks that was judged. since: market time from which messages are waited for. ticked:
    wall time of the last tick. runs: wall time up to which failed runs were looked for. asked: wall time at which the
    broker was asked last, next_minute: and what it said. held: alerts that the table does not have as they are. sent:
    wall times of the texts of the last minute, by channel.
    """

    judged: datetime
    since: datetime
    ticked: datetime
    runs: datetime
    asked: datetime | None = None
    next_minute: datetime | None = None
    broker: Away | None = None
    store: Away | None = None
    memory: dict[str, Kept] = field(default_factory=dict[str, Kept])
    held: tuple[Alert, ...] = ()
    sent: dict[str, tuple[datetime, ...]] = field(default_factory=dict[str, tuple[datetime, ...]])

    @classmethod
    def resumed(cls, cursor: str | None, market: datetime, wall: datetime) -> "Watch":
        """From the cursor; anew where there is none, or it is of an earlier stockpick, or the replay began again.

        What is over already is then nobody's alert.
        """
        begun = (market - MINUTE - FORECAST_IS_OVER).replace(second=0, microsecond=0)
        anew = cls(judged=begun, since=market, ticked=wall, runs=wall)
        try:
            watch = _CURSOR.validate_json(cursor or "")
        except ValidationError:
            return anew
        if watch.judged > market:
            return replace(anew, held=watch.held, sent=watch.sent)
        since = market if wall - watch.ticked > STOPPED_AFTER else watch.since
        return replace(watch, since=since, ticked=wall)

    def cursor(self) -> str:
        """The text that `resumed` takes."""
        return _CURSOR.dump_json(self).decode()


_CURSOR = TypeAdapter(Watch)


def alerts_sensor(flow: Flow, rules: Sequence[Rule]) -> dg.SensorDefinition:
    """The sensor `alerts`. Its cursor is a `Watch`."""

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Alerts to every channel that is configured: {', '.join(rule.name for rule in rules)}.",
    )
    def sensor(
        context: dg.SensorEvaluationContext,
        tables: Tables,
        now: dg.ResourceParam[Now],
        notifier: dg.ResourceParam[Notifier],
        relay_position: dg.ResourceParam[RelayPosition],
    ) -> dg.SensorResult:
        tick = Tick(flow, rules, tables.store(), context.instance, notifier, relay_position, now)
        watch, said = tick.done(context.cursor)
        return dg.SensorResult(skip_reason=said, cursor=watch.cursor())

    return sensor


class Position(Protocol):
    """What a tick needs of the relay's position; `resources.relay_position.RelayPosition` is one."""

    def next_minute(self) -> datetime | None:
        """The first minute that has not been sent. Raises BrokerError."""
        ...


class Tick:
    """One evaluation of the sensor: what it looks at, and the time as it began."""

    def __init__(
        self,
        flow: Flow,
        rules: Sequence[Rule],
        store: Store,
        instance: dg.DagsterInstance,
        notifier: Notifier,
        position: Position,
        now: Now,
    ) -> None:
        self._flow, self._rules, self._store = flow, rules, store
        self._instance, self._notifier, self._position, self._now = instance, notifier, position, now
        self._wall, self._market = now.wall(), now.market()

    def done(self, cursor: str | None) -> tuple[Watch, str]:
        """Look, judge, record and deliver; returns what to remember, and what a person reads of it."""
        watch, seen = self._look(Watch.resumed(cursor, self._market, self._wall))
        judged, memory = judge(self._rules, sorted(seen, key=lambda one: one.at), watch.memory)
        watch, new, pending = self._record(
            replace(watch, memory=memory), [raised(one, self._flow.links, self._wall) for one in judged]
        )
        marked, sent = self._deliver(pending, watch.sent)
        watch = self._mark(replace(watch, sent=sent), marked)
        return watch, " ".join(_said(new, marked, watch))

    def _look(self, watch: Watch) -> tuple[Watch, list[Observation]]:
        """Everything that the rules are held against."""
        seen: list[Observation] = []
        for run, at in failed_runs(self._instance, watch.runs, RUNS_A_TICK, self._now.clock):
            seen.append(of_run(run))
            watch = replace(watch, runs=at)
        watch = self._ask_broker(watch)
        try:
            _write(self._store, watch.held)
            of_tables, judged = self._of_tables(watch.judged)
            seen += of_tables
            watch = replace(watch, held=(), judged=judged, store=None)
        except StoreError as error:
            watch = replace(watch, store=self._away(watch.store, error))
        seen += [self._reaching("broker", watch.broker), self._reaching("store", watch.store)]
        if watch.store is None and watch.broker is None:
            # Where one of them is away, that is the alert.
            seen.append(of_silence(watch.next_minute, watch.since, self._market, self._now.clock.speed))
        return watch, seen

    def _of_tables(self, judged: datetime) -> tuple[list[Observation], datetime]:
        """What new minutes of picks and their bars say, and the newest minute of them. Raises StoreError."""
        newest = self._market - MINUTE
        until = min(newest, judged + JUDGED_A_TICK)
        day = new_york_date(judged)
        try:
            picks = self._store.read(PICKS.name, from_session=day, first=judged, last=until, columns=PICK_COLUMNS)
        except TableMissing:
            return [], judged
        answered: set[Any] = set(picks["minute"].to_pylist())
        minutes = sorted(minute for minute in answered if minute > judged)
        if not minutes:
            return [], until if until < newest else judged
        bars = self._store.read_if_written(
            RAW_PRICES.name, BAR_COLUMNS, from_session=day, first=minutes[0], last=minutes[-1]
        )
        seen = list(of_picks(picks, judged))
        by_tickers = defaultdict[tuple[str, ...], list[datetime]](list)
        for minute in minutes:
            by_tickers[tuple(self._flow.universe.on(session_of(minute).date))].append(minute)
        for tickers, of_tickers in by_tickers.items():
            seen += of_bars(AnswerMatrix.of(bars, tickers, of_tickers))
        return seen, minutes[-1]

    def _ask_broker(self, watch: Watch) -> Watch:
        if watch.asked is not None and self._wall - watch.asked < BROKER_EVERY:
            return watch
        watch = replace(watch, asked=self._wall)
        try:
            return replace(watch, next_minute=self._position.next_minute(), broker=None)
        except BrokerError as error:
            return replace(watch, broker=self._away(watch.broker, error))

    def _record(self, watch: Watch, new: list[Alert]) -> tuple[Watch, list[Alert], list[Alert]]:
        """Write new alerts before they are sent, or hold them; also returns those that are new, and the pending."""
        if watch.store is None:
            try:
                new = _raise_alerts(self._store, new)
                # A run may have failed days before it is found.
                oldest = min(watch.judged, self._market, *(alert.minute for alert in new))
                return watch, new, _pending_since(self._store, oldest)
            except StoreError as error:
                watch = replace(watch, store=self._away(None, error))
        watch = replace(watch, held=_newest_held(watch.held, new))
        return watch, new, [alert for alert in watch.held if alert.status == Status.PENDING]

    def _deliver(
        self, pending: Sequence[Alert], sent: Mapping[str, Sequence[datetime]]
    ) -> tuple[list[Alert], dict[str, tuple[datetime, ...]]]:
        """Deliver or expire what is due of the pending alerts.

        sent: when each channel was given texts. Returns the alerts that changed, and `sent` as it is then.
        """
        begin = self._now.wall()
        late = {alert.id: done for alert in pending if (done := expired(alert, self._market))}
        due = [alert for alert in pending if alert.id not in late and (alert.due_at is None or alert.due_at <= begin)]
        given = {channel: tuple(at for at in times if begin - at < A_MINUTE) for channel, times in sent.items()}
        if not due or begin - self._wall > DELIVER_WITHIN:
            return list(late.values()), given
        channels = self._notifier.channels
        texts = {
            channel: some
            for channel in channels
            if (some := parcels(due, channel, self._flow.links)[: max(0, allowed(given, channel, begin))])
        }
        taken = self._notifier.deliver(texts)
        for channel, answers in taken.items():
            given[channel] = (*given.get(channel, ()), *[begin] * len(answers))
        outcome, wall = deliveries(texts, taken), self._now.wall()
        done = [settled(alert, outcome.get(alert.id, Delivery()), channels, wall) for alert in due]
        return [*late.values(), *(after for after, before in zip(done, due, strict=True) if after != before)], given

    def _mark(self, watch: Watch, marked: list[Alert]) -> Watch:
        """Write what became of alerts, or hold it."""
        if watch.store is None:
            try:
                _write(self._store, marked)
            except StoreError as error:
                return replace(watch, held=_newest_held((), marked), store=self._away(None, error))
            return watch
        return replace(watch, held=_newest_held(watch.held, marked))

    def _away(self, before: Away | None, error: Exception) -> Away:
        why = outside(str(error), LONGEST_ERROR)
        return replace(before, why=why) if before else Away(self._wall, self._market, why)

    def _reaching(self, rule: str, away: Away | None) -> Observation:
        if away is None:
            return of_reaching(rule, timedelta(0), self._market, self._market, "")
        return of_reaching(rule, self._wall - away.since, self._market, away.market, away.why)


def _raise_alerts(store: Store, alerts: Sequence[Alert]) -> list[Alert]:
    """Write the alerts that the table does not have yet; returns those. Raises StoreError."""
    if not alerts:
        return []
    known = {alert.id for alert in _alerts_since(store, min(alert.minute for alert in alerts))}
    new = list({alert.id: alert for alert in alerts if alert.id not in known}.values())
    if new:
        store.append(ALERTS.name, alerts_table(new), {"rule": ", ".join(sorted({alert.rule for alert in new}))})
    return new


def _pending_since(store: Store, minute: datetime) -> list[Alert]:
    """The pending alerts of that minute's day and later. Raises StoreError."""
    return [alert for alert in _alerts_since(store, minute) if alert.status == Status.PENDING]


def _write(store: Store, alerts: Sequence[Alert]) -> None:
    """Write the alerts in place of the rows that the table has of them, or beside them. Raises StoreError."""
    if alerts:
        ids = ", ".join("'" + alert.id.replace("'", "''") + "'" for alert in alerts)
        oldest = min(alert.session for alert in alerts)
        predicate = f"session >= '{oldest.isoformat()}' AND id IN ({ids})"
        store.replace(ALERTS.name, alerts_table(alerts), predicate, {"marked": str(len(alerts))})


def _newest_held(held: Sequence[Alert], changed: Sequence[Alert]) -> tuple[Alert, ...]:
    by_id = {alert.id: alert for alert in (*held, *changed)}
    return tuple(by_id.values())[-MOST_HELD:]


def _alerts_since(store: Store, minute: datetime) -> list[Alert]:
    return alerts_from(store.read_if_written(ALERTS.name, from_session=new_york_date(minute)))


def _said(new: Sequence[Alert], marked: Sequence[Alert], watch: Watch) -> Iterator[str]:
    words = [f"{status}: {count}" for status in Status if (count := sum(alert.status == status for alert in marked))]
    kept_back = sum(alert.status == Status.SUPPRESSED for alert in new)
    said = f"{len(new) - kept_back} new alerts" + (f" ({', '.join(words)})" if words else "")
    said += f", {kept_back} suppressed" if kept_back else ""
    yield f"Judged picks up to {minute_label(watch.judged)} New York: {said}."
    if watch.broker:
        yield f"Kafka is not reached since {watch.broker.since.astimezone(UTC):%H:%M:%S} UTC."
    if watch.store:
        since = f"{watch.store.since.astimezone(UTC):%H:%M:%S} UTC"
        held = f"; {len(watch.held)} alerts wait to be written" if watch.held else ""
        yield f"The tables are not read or written since {since}{held}: {watch.store.why}"
