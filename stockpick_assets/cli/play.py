"""What `stockpick demo` and `stockpick live` do, told line by line: services, history, live minutes, the end."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta

import click

from stockpick_assets import services
from stockpick_assets.backfill import fail_runs_left_behind, missing, plan, run
from stockpick_assets.cli.context import Platform
from stockpick_assets.cli.signals import end_as_by_ctrl_c, ignore_ends
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import Session, last_closed_minute, minute_label, session_after
from stockpick_assets.core.messages import one_line, parse_message, topic_prefix
from stockpick_assets.core.replay import HISTORY, replay
from stockpick_assets.core.schemas import PICKS, SCORES
from stockpick_assets.published import PublishedMinute, published_minutes
from stockpick_assets.resources.kafka import BrokerError, Kafka
from stockpick_assets.resources.market_data import MarketData
from stockpick_assets.resources.now import wall_clock
from stockpick_assets.resources.sources import market_data
from stockpick_assets.resources.topic_reader import TopicReader
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store, TableMissing

MINUTES_OF_ONCE = 3
LONGEST = 160
# A live minute takes some 10 s; without one for this long something is wrong that no service died of.
PATIENCE = timedelta(minutes=4)
A_YEAR = 250  # sessions
LABELS = {
    "simulated": "SIMULATED market: no price below is real",
    "recorded": "RECORDED market: prices of the past, replayed",
    "yahoo": "Yahoo Finance",
}


class Silence(StockpickError):
    """Nothing was published for so long that something must be wrong."""


class Story:
    """Lines that say what is happening, and when since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, line: str) -> None:
        """Print one line."""
        click.echo(f"[{time.monotonic() - self._began:6.1f} s] {line}")


def play(settings: Settings, asked: date | None, once: bool) -> None:
    """Start everything, work through what is missing of the history, and follow the live minutes.

    asked: the session to replay as if live, where one was named. once: end after MINUTES_OF_ONCE published minutes.
    Whatever happens, what was started is stopped, by this or by another command. Raises StockpickError when it could
    not be done.
    """
    running = services.running(settings)
    if running:
        names = ", ".join(service.name for service in running)
        raise StockpickError(f"{names} of {settings.home.absolute()} already run; stop them with `make stop` first")
    source = market_data(settings)  # what cannot be read is said before anything is started
    if asked is not None:
        replay(_sessions_over(source, wall_clock()), None, asked)
    story, ours = Story(), True
    story.tell(LABELS[settings.source])
    end_as_by_ctrl_c()
    try:
        settings = services.start(settings, services.DATA, story.tell)
        if settings.source != "yahoo":
            settings = _with_live_session(settings, source, asked)
        platform = Platform.load(settings)
        live = _work_through_history(platform, story)
        if settings.source != "yahoo":
            settings = settings.model_copy(update={"replay_started_at": wall_clock()})
        services.start(settings, services.ALL, story.tell)
        _tell_addresses(settings, story)
        _follow(platform, settings, live, MINUTES_OF_ONCE if once else None, story)
    except KeyboardInterrupt:
        story.tell("stopping what was started")
    except services.StoppedElsewhere as error:
        ours = False
        story.tell(str(error))
    finally:
        ignore_ends()
        if ours:
            services.stop(settings, services.ALL, story.tell)


def _with_live_session(settings: Settings, source: MarketData, asked: date | None) -> Settings:
    wall = wall_clock()
    store = Store.from_settings(settings)
    newest = _newest(store, SCORES.name)
    oldest = min(store.contents(SCORES.name).files, default=None) if newest else None
    found = replay(_sessions_over(source, wall), newest, asked, oldest)
    return settings.model_copy(
        update={
            "last_session": found.live.date,
            "sessions": HISTORY + 1,
            "replay_from": found.start,
            "replay_started_at": wall,
        }
    )


def _sessions_over(source: MarketData, wall: datetime) -> list[Session]:
    return [session for session in source.sessions(wall, A_YEAR) if session.close <= wall]


def _work_through_history(platform: Platform, story: Story) -> Session:
    """Run what the sessions before the live one lack, and tell the best pick of each; returns the live session."""
    flow, store = platform.flow, Store.from_settings(platform.settings)
    market = platform.market_time()
    *history, live = (session for session in flow.window.sessions if session.open <= market)
    if platform.settings.source == "yahoo" and live.close <= market:
        history, live = [*history, live], session_after(live)
    ran = False
    with platform.instance() as instance:
        for run_id in fail_runs_left_behind(instance):
            story.tell(f"run {run_id[:8]}, whose process was killed, is now reported as failed")
        for step in missing(store, plan(flow.window, history, (), market, flow.bar_delay)):
            began, ran = time.monotonic(), True
            run(platform.definitions, instance, step, lambda _: None)
            story.tell(f"{step.label}: {', '.join(step.assets)} in {time.monotonic() - began:.1f} s")
            if step.selection is not None:
                story.tell(_best_of_newest_minute(store, platform.settings.source))
    if not ran:
        story.tell(_best_of_newest_minute(store, platform.settings.source))
    return live


def _tell_addresses(settings: Settings, story: Story) -> None:
    story.tell(f"Dagster    {settings.dagster_url}")
    story.tell(f"Streamlit  {settings.app_url}")
    bucket = f"{settings.s3_endpoint}/{settings.s3_bucket}/{settings.source}"
    story.tell(f"S3         {bucket}, keys in {settings.home}/stockpick.env")
    story.tell(f"Kafka      {settings.kafka_bootstrap}, topics stockpick.{settings.source}.<ticker>")


def _follow(platform: Platform, settings: Settings, live: Session, count: int | None, story: Story) -> None:
    """Tell the best pick of each minute as it is published, for `count` minutes or without end."""
    clock = settings.clock
    begins = clock.at(wall_clock())
    if begins < live.open:
        wait = timedelta(seconds=int((clock.wall_at(live.open) - wall_clock()).total_seconds()))
        story.tell(f"the market is closed; it opens {minute_label(live.open)} New York, in {wait}")
    kafka = Kafka(settings.kafka_bootstrap, settings.kafka_security())
    newest = last_closed_minute(live, begins, platform.flow.bar_delay)
    if newest is not None:
        story.tell(f"live from {minute_label(newest)} New York on; a line each minute follows what is caught up with")
    with closing(TopicReader(kafka, topic_prefix(settings.source), "latest")) as reader:
        minutes = published_minutes(patient(reader.poll, story.tell), story.tell, platform.flow.window.tickers, begins)
        _tell_minutes(minutes, settings, live, count, story)


Poll = Callable[[float], Sequence[bytes]]


def patient(poll: Poll, tell: Callable[[str], None]) -> Poll:
    """`poll`, in which a broker that does not answer has sent nothing, and is told of once until it answers again."""
    away = False

    def poll_again(seconds: float) -> Sequence[bytes]:
        nonlocal away
        try:
            texts = poll(seconds)
        except BrokerError as error:
            if not away:
                tell(f"{error}; trying again")
            away = True
            time.sleep(seconds)
            return []
        away = False
        return texts

    return poll_again


def _tell_minutes(
    minutes: Iterator[PublishedMinute | None], settings: Settings, live: Session, count: int | None, story: Story
) -> None:
    clock = settings.clock
    published, heard, over = 0, time.monotonic(), False
    for minute in minutes:
        services.check(settings)
        market = clock.at(wall_clock())
        silent = timedelta(seconds=time.monotonic() - heard)
        if minute is not None:
            heard, published = time.monotonic(), published + 1
            story.tell(_sentence(settings.source, minute))
            if published == count:
                return
        elif market < live.open:
            heard = time.monotonic()
        elif silent > PATIENCE and market < live.close:
            raise Silence(
                f"nothing was published for {PATIENCE.seconds // 60} minutes though the market is open; see the "
                f"runs at {settings.dagster_url}/runs and the logs in {settings.home}/logs"
            )
        elif silent > PATIENCE and count is not None:
            raise Silence(f"session {live.label()} closed after {published} of {count} minutes had been published")
        elif market >= live.close and not over:
            over = True
            story.tell(f"session {live.label()} is over; everything stays up until Ctrl-C")


def _newest(store: Store, table: str) -> datetime | None:
    try:
        return store.newest(table)
    except TableMissing:
        return None


def _best_of_newest_minute(store: Store, source: str) -> str:
    newest = _newest(store, PICKS.name)
    if newest is None:
        return "there is no pick yet"
    rows = store.read(PICKS.name, first=newest, last=newest, columns=["message"])
    messages = tuple(parse_message(row["message"]) for row in rows.to_pylist())
    return _sentence(source, PublishedMinute(newest, messages))


def _sentence(source: str, minute: PublishedMinute) -> str:
    best = minute.best()
    at = f"{source.upper()} {minute_label(minute.minute)} New York"
    if best is None:
        why = next((message.abstain for message in minute.messages if message.abstain), "no ticker has a forecast")
        return f"{at}: no pick of {len(minute.messages)} tickers ({one_line(why, LONGEST)})"
    mark = f", {one_line(best.abstain, LONGEST)}" if best.abstain else ""
    p_profit = "unknown" if best.p_profit is None else f"{best.p_profit:.1%}"
    return f"{at}: best of {len(minute.messages)} is {one_line(best.ticker)}, probability of profit {p_profit}{mark}"
