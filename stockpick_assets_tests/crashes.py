"""Rounds in which one process on the way from a run's picks to a reader of Kafka is killed with SIGKILL.

The processes are real: a run that commits picks through the IO manager, the relay, the broker, and a Dagster daemon
with its code server. Who is killed in a round, at which step and after how long is decided by a seed and the round's
number.
What does not belong here: what became of the messages (delivery.py).
"""

import logging
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate, cycle, islice, pairwise
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pkgutil import resolve_name
from random import Random
from typing import Any, Literal, NamedTuple

import dagster as dg
import pyarrow as pa
import pytest
import yaml
from dagster_aws.s3 import S3Resource

from stockpick_assets import services
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE, session_after
from stockpick_assets.io_managers import TableIOManager
from stockpick_assets.jobs import LIVE
from stockpick_assets.partitions import Window
from stockpick_assets.relay import Relay
from stockpick_assets.resources.kafka import BrokerError, Kafka
from stockpick_assets.resources.now import Now
from stockpick_assets.resources.tables import Tables
from stockpick_assets.services.dagster import WITHOUT_THREADS, instance_environment, lay_configuration
from stockpick_assets.services.kafka import Kafka as Broker
from stockpick_assets.services.process import ServiceProcess, port_is_free
from stockpick_assets.settings import Settings
from stockpick_assets.store import Store
from stockpick_assets_tests.delivery import Key, delivery, read_topics, stored_messages
from stockpick_assets_tests.picks import TICKERS, pick, table
from stockpick_assets_tests.rows import FETCHED_AT, SESSION
from stockpick_assets_tests.sensors.flows import FLOW as FLOW_OF_A_SESSION

SESSIONS = (SESSION, session_after(SESSION), session_after(session_after(SESSION)))
MINUTES: tuple[datetime, ...] = tuple(at.to_pydatetime() for session in SESSIONS for at in session.minutes())
FLOW = replace(FLOW_OF_A_SESSION, window=Window(SESSIONS, TICKERS))
CLOCK = MarketClock(FETCHED_AT, SESSION.open)
LATE = Now(CLOCK, lambda: CLOCK.wall_at(SESSIONS[-1].close))  # when every minute is due

SECONDS_OF_A_STEP = 0.05  # at most, until one is killed that is at work in it
SECONDS_OF_A_PROCESS = 1.0  # the same of a process that commits or relays
SECONDS_BETWEEN_TICKS = 6.0
SECONDS_TO_RECOVER = 120.0
# Of the rounds, but for those of a daemon; and of the corrections, those of messages that were sent before.
CORRECTED, SENT_BEFORE = 0.5, 0.5
PRODUCER = "kafka:KafkaProducer."
# A run and a relay are forked from a process that has imported this module: 0.1 s instead of 5.
PROCESSES = multiprocessing.get_context("forkserver")


class Step(NamedTuple):
    """A moment in a process: before, in or after the first call of what `of` names; without a name, any."""

    of: str = ""
    moment: Literal["before", "in", "after"] = "in"

    def __str__(self) -> str:
        return f"{self.moment} {self.of.rpartition('.')[2].rpartition(':')[2]}" if self.of else "at any moment"


_IN_A_TRANSACTION = (
    Step(f"{PRODUCER}begin_transaction", "after"),
    Step(f"{PRODUCER}send", "after"),
    Step(f"{PRODUCER}flush", "in"),
    Step(f"{PRODUCER}flush", "after"),
    Step(f"{PRODUCER}send_offsets_to_transaction", "in"),
    Step(f"{PRODUCER}send_offsets_to_transaction", "after"),
    Step(f"{PRODUCER}commit_transaction", "in"),
    Step(f"{PRODUCER}commit_transaction", "after"),
)
_COMMIT = "stockpick_assets.store:write_deltalake"
STEPS: dict[str, tuple[Step | str, ...]] = {
    "relay": (Step(f"{PRODUCER}init_transactions", "after"), *_IN_A_TRANSACTION, Step()),
    "run": (Step(_COMMIT, "before"), Step(_COMMIT, "in"), Step(_COMMIT, "after"), Step()),
    "broker": (*_IN_A_TRANSACTION, Step()),
    "daemon": ("daemon", "code server", "daemon and code server"),
}
# Of 200 rounds. One of the daemon takes ten times as long as one of the relay.
SHARES = {"relay": 80, "run": 60, "broker": 36, "daemon": 24}


class Crash(NamedTuple):
    """A round: who is killed, and where."""

    number: int
    victim: str
    step: Step | str


class RoundFailed(Exception):
    """A round did not come to its end."""


def plan(rounds: int, seed: int, shares: dict[str, int] = SHARES) -> list[Crash]:
    """So many rounds, each step of a victim as often as the others, in an order of the seed; those of a daemon last."""
    ends = [0, *(round(rounds * share / sum(shares.values())) for share in accumulate(shares.values()))]
    crashes = [
        Crash(0, victim, step)
        for victim, (begin, end) in zip(shares, pairwise(ends), strict=True)
        for step in islice(cycle(STEPS[victim]), end - begin)
    ]
    Random(seed).shuffle(crashes)
    crashes.sort(key=lambda crash: crash.victim == "daemon")
    return [crash._replace(number=number) for number, crash in enumerate(crashes)]


def tables(settings: Settings) -> Tables:
    """The settings' tables as a resource."""
    s3 = S3Resource(
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key.get_secret_value(),
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
    )
    return Tables(s3=s3, bucket=settings.s3_bucket, source=settings.source, root=settings.store_root)


def relay(settings: Settings) -> Relay:
    """A relay of the settings' broker."""
    return Relay(settings.source, TICKERS, CLOCK, Kafka(settings.kafka_bootstrap).outbox)


class Child:
    """A process that says when it has begun, is at its step, and is done."""

    def __init__(self, work: Callable[..., None], settings: Settings, step: Step, *arguments: Any) -> None:
        self.pipe, theirs = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=_work, args=(theirs, work, settings, step, *arguments), daemon=True)
        self.process.start()
        theirs.close()
        self.hear("begun")

    def tell(self, word: str) -> None:
        """Send it a word, if it lives."""
        with suppress(BrokenPipeError):
            self.pipe.send(word)

    def hear(self, *words: str) -> str:
        """Wait until it says one of the words. Raises RoundFailed when it fails, dies or says nothing."""
        heard = ""
        while not heard.startswith(words):
            if not self.pipe.poll(SECONDS_TO_RECOVER):
                raise RoundFailed(f"{self.process.name} did not say {words} within {SECONDS_TO_RECOVER} s")
            try:
                heard = self.pipe.recv()
            except EOFError:
                raise RoundFailed(f"{self.process.name} died before it said {words}") from None
            if heard.startswith("failed") and "failed" not in words:
                raise RoundFailed(f"{self.process.name} {heard}")
        return heard

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.join()

    def end(self) -> None:
        """Let it come to its end, and say whether it did. Raises RoundFailed."""
        self.tell("end")
        self.hear("done")
        self.process.join()


def _work(pipe: Connection, work: Callable[..., None], settings: Settings, step: Step, *arguments: Any) -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if step.of:
        _tell_at(pipe, step)
    pipe.send("begun")
    try:
        work(pipe, settings, *arguments)
    except Exception as error:  # noqa: BLE001 - told to the parent
        pipe.send(f"failed: {type(error).__name__}: {error}")
    else:
        pipe.send("done")


def _tell_at(pipe: Connection, step: Step) -> None:
    """Make this process say that it is at its step, and unless it is in it wait there for a word."""
    separator = max(step.of.rfind("."), step.of.rfind(":"))
    owner, name = resolve_name(step.of[:separator]), step.of[separator + 1 :]
    call = getattr(owner, name)

    def told(*arguments: Any, **named: Any) -> Any:
        setattr(owner, name, call)
        if step.moment == "after":
            answer = call(*arguments, **named)
        pipe.send("there")
        if step.moment != "in":
            pipe.recv()
        return answer if step.moment == "after" else call(*arguments, **named)

    setattr(owner, name, told)


def _run(pipe: Connection, settings: Settings, rows: pa.Table) -> None:
    """Commit picks as a run of Dagster does."""

    @dg.asset(
        key=FLOW.key("picks"),
        partitions_def=FLOW.window.ticker_minutes,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def picks() -> pa.Table:
        return rows

    minutes: list[datetime] = rows["minute"].to_pylist()
    dg.materialize(
        [picks],
        resources={"io_manager": TableIOManager(tables=tables(settings), now=LATE, live_job=LIVE)},
        tags=FLOW.window.select(min(minutes), max(minutes)).tags(),
    )


def _relay(pipe: Connection, settings: Settings, market: datetime) -> None:
    """Relay what is due at that market time until told to end."""
    store, ended = Store.from_settings(settings), False
    with closing(relay(settings)) as sending:
        while sending.send_due(store, market).minutes or not ended:
            ended = ended or (pipe.poll(0.02) and pipe.recv() == "end")


@dataclass(frozen=True)
class Work:
    """What a run of a round commits: the picks of its minutes, or corrections of one ticker's."""

    minutes: Sequence[datetime]
    corrects: bool = False

    @property
    def market(self) -> datetime:
        """When it is relayed: the minutes have closed, and their forecasts are open."""
        return self.minutes[-1] + MINUTE + timedelta(seconds=30)

    def picks(self, attempt: int = 1) -> pa.Table:
        """Picks of every ticker; another attempt makes them later."""
        rows = [
            pick(at, ticker, rank, price=102.5 if self.corrects and rank == 1 else 101.25)
            for at in self.minutes
            for rank, ticker in enumerate(TICKERS, 1)
        ]
        return table(rows, self.market - timedelta(seconds=20 - 10 * self.corrects - 5 * attempt))


class Rounds:
    """Plays rounds on one broker and one table, and remembers of which round each minute is."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self._store = Store.from_settings(settings)
        self.kafka = Kafka(settings.kafka_bootstrap)
        self.round_of: dict[datetime, Crash] = {}
        # The position is then that session's open, whatever is committed later.
        with closing(relay(settings)) as first:
            first.send_due(self._store, SESSION.open)

    def play(self, crash: Crash) -> None:
        """Kill whom the round says, and let those that are left or started again send all there is."""
        chance = Random(f"{self._seed} {crash.number}")
        begin = len(self.round_of)
        work = Work(MINUTES[begin : begin + chance.randint(1, 3)])
        self.round_of |= dict.fromkeys(work.minutes, crash)
        if crash.victim != "daemon" and chance.random() < CORRECTED:
            self._commit(work)
            if chance.random() < SENT_BEFORE:
                self._send_rest(work.market)
            work = replace(work, corrects=True)
        {"relay": self._relay, "run": self._run, "broker": self._broker, "daemon": self._daemon}[crash.victim](
            crash.step, chance, work
        )

    def stored(self) -> dict[Key, str]:
        """The messages that the table has to be sent."""
        return stored_messages(self._store)

    def _commit(self, work: Work, attempt: int = 1) -> None:
        Child(_run, self._settings, Step(), work.picks(attempt)).end()

    def _relay(self, step: Step, chance: Random, work: Work) -> None:
        if step.of:
            self._commit(work)
            sending = Child(_relay, self._settings, step, work.market)
            _reach(sending, step, chance)
            sending.kill()
        else:
            sending = Child(_relay, self._settings, step, work.market)
            committing = Child(_run, self._settings, Step(), work.picks())
            _reach(sending, step, chance)
            sending.kill()
            committing.end()
        self._send_rest(work.market)

    def _run(self, step: Step, chance: Random, work: Work) -> None:
        sending = Child(_relay, self._settings, Step(), work.market)
        committing = Child(_run, self._settings, step, work.picks())
        _reach(committing, step, chance)
        committing.kill()
        self._commit(work, attempt=2)
        sending.end()

    def _broker(self, step: Step, chance: Random, work: Work) -> None:
        self._commit(work)
        sending = Child(_relay, self._settings, step, work.market)
        _reach(sending, step, chance)
        kill_broker(self._settings)
        sending.tell("go on")
        with_relay = chance.random() < 0.5
        if with_relay:
            sending.kill()
        start_broker(self._settings)
        if not with_relay:
            sending.tell("end")
            sending.hear("done", "failed")
            sending.kill()
        self._send_rest(work.market)

    def _daemon(self, step: str, chance: Random, work: Work) -> None:
        names = step.split(" and ")
        self._commit(work)
        time.sleep(chance.uniform(0, SECONDS_BETWEEN_TICKS))
        for name in names:
            kill_dagster(self._settings, name)
        for name in reversed(names):
            start_dagster(self._settings, name)
        expected = set(self.stored())
        _until(lambda: expected <= self._read(), f"the sensor had sent {work.minutes}")

    def _read(self) -> set[Key]:
        stored = self.stored()
        return set(stored) - set(delivery(stored, read_topics(self.kafka, self._settings.source)).lost)

    def _send_rest(self, market: datetime) -> None:
        """As the ticks of the sensor do, again after an error."""
        end = time.monotonic() + SECONDS_TO_RECOVER
        with closing(relay(self._settings)) as sending:
            while True:
                try:
                    if not sending.send_due(self._store, market).minutes:
                        return
                except BrokerError:
                    if time.monotonic() > end:
                        raise


def _reach(child: Child, step: Step, chance: Random) -> None:
    """Return when the process is at its step, or at a moment in it."""
    if step.of:
        child.hear("there")
    if step.moment == "in":
        time.sleep(chance.uniform(0, SECONDS_OF_A_STEP if step.of else SECONDS_OF_A_PROCESS))


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS_TO_RECOVER
    while not condition():
        if time.monotonic() > end:
            raise RoundFailed(f"not within {SECONDS_TO_RECOVER} s: {what}")
        time.sleep(0.2)


def kill_broker(settings: Settings) -> None:
    """End the broker with SIGKILL."""
    _kill(Broker().process(settings))


def start_broker(settings: Settings) -> None:
    """Start it on the log that it has, and wait until it answers."""
    services.start(settings, [Broker()])


def kill_dagster(settings: Settings, name: str) -> None:
    """End the daemon or the code server with SIGKILL."""
    _kill(ServiceProcess(settings.home, name))


def start_dagster(settings: Settings, name: str) -> None:
    """Start the daemon or the code server; a daemon that finds no code server waits long for it."""
    host, _, port = settings.dagster_code_server.partition(":")
    served = ["--module-name", "stockpick_assets_tests.crash_definitions", "--location-name", "crashes"]
    workspace = settings.home / "workspace.yaml"
    server = {"grpc_server": {"host": host, "port": int(port), "location_name": "crashes"}}
    workspace.write_text(yaml.safe_dump({"load_from": [server]}), encoding="utf-8")
    arguments = {
        "code server": ["dagster", "api", "grpc", *served, "--host", host, "--port", port],
        "daemon": ["dagster._daemon", "run", "--workspace", str(workspace)],
    }[name]
    lay_configuration(settings)
    process = ServiceProcess(settings.home, name)
    process.launch([sys.executable, "-m", *arguments], instance_environment(settings), settings.home / "dagster")
    if name == "code server":
        _until(lambda: not port_is_free(int(port)), "the code server listens")


@contextmanager
def dagster_at_work(settings: Settings) -> Iterator[None]:
    """A code server with the relay's sensor, and a daemon, for rounds of a daemon."""
    names = ("code server", "daemon")
    try:
        for name in names:
            start_dagster(settings, name)
        yield
    finally:
        for name in reversed(names):
            ServiceProcess(settings.home, name).end()


def prepare_processes() -> None:
    """Start the process that runs and relays are forked from."""
    PROCESSES.set_forkserver_preload([__name__])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WITHOUT_THREADS.items():
            patch.setenv(name, value)
        forkserver.ensure_running()


def _kill(process: ServiceProcess) -> None:
    leader = process.leader()
    if leader is None:
        raise RoundFailed(f"the {process.name} was dead before it was killed:\n" + "\n".join(process.last_lines()))
    leader.kill()
    leader.wait()
