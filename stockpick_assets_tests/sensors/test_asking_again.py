"""Healing, sweeping and recomputing: what the sensors request, and what a run of the job does with the answers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from stockpick_assets.ask_again import OP, ask_again_job
from stockpick_assets.checks import CHECKS
from stockpick_assets.core.due import FIRST_WAIT, SWEEP_OPEN_EVERY
from stockpick_assets.core.market_hours import MINUTE, Session, minute_label, session_before
from stockpick_assets.core.schemas import BARS_FETCHED_AT, FEATURE_ROWS, SCORES, TRAINING_SET
from stockpick_assets.core.versions import stamped
from stockpick_assets.jobs import ASK_AGAIN, LIVE, RECOMPUTE, jobs
from stockpick_assets.sensors.heal import heal_sensor
from stockpick_assets.sensors.recompute import WAIT_AFTER_FAILURE, recompute_sensor
from stockpick_assets.sensors.sweep import sweep_sensor
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import TICKERS, minute
from stockpick_assets_tests.rows import SESSION, bars, scores
from stockpick_assets_tests.sensors.flows import FLOW, at, tables

COUNT = 30
NOW = minute(COUNT) + timedelta(seconds=3)
WALL = at(NOW).wall()


@dataclass
class Answering:
    """A source whose every bar has one close, and that notes what it is asked."""

    close: float = 100.0
    asked: list[tuple[datetime, datetime, tuple[str, ...]]] = field(default_factory=list)

    def sessions(self, now: datetime, count: int) -> list[Session]:
        return [SESSION]

    def tickers(self) -> tuple[str, ...]:
        return TICKERS

    def bars(
        self, session: Session, first: datetime, last: datetime, tickers: Sequence[str], now: datetime, wall: datetime
    ) -> pa.Table:
        self.asked.append((first, last, tuple(tickers)))
        start, count = int((first - session.open) / MINUTE), int((last - first) / MINUTE) + 1
        return bars(count, start=start, tickers=tickers, close=self.close, fetched_at=wall)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tables(tmp_path).store()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(
    sensor: dg.SensorDefinition,
    store: Store,
    instance: dg.DagsterInstance,
    market: datetime = NOW,
    cursor: str | None = None,
) -> tuple[list[dg.RunRequest], str, str | None]:
    """The runs a sensor requests, what it says when it requests none, and its cursor."""
    resources = {"tables": tables(Path(store.root)), "now": at(market)}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        answer = sensor(context)
    assert isinstance(answer, dg.SensorResult)
    said = answer.skip_reason
    return (
        list(answer.run_requests or ()),
        said.skip_message or "" if isinstance(said, dg.SkipReason) else "",
        answer.cursor,
    )


def run(
    request: dg.RunRequest, store: Store, source: Answering, instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    resources = {"tables": tables(Path(store.root)), "now": at(NOW), "market_data": source}
    return ask_again_job(FLOW).execute_in_process(
        instance=instance, run_config=request.run_config, resources=resources, raise_on_error=False
    )


def unanswered(minutes: int, ticker: str, start: int = 0, reason: str = "rate_limited") -> pa.Table:
    """Rows of minutes that have no bar and no final reason."""
    rows = bars(minutes, start=start, tickers=(ticker,)).to_pylist()
    nothing: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close", "volume"))
    return pa.Table.from_pylist([{**row, **nothing, "reason": reason} for row in rows], schema=bars(0).schema)


def made(table: str, minutes: int, **columns: Any) -> pa.Table:
    """Rows of a table that were made from the bars as they were stored first."""
    of = {"features": FEATURE_ROWS, "training_set": TRAINING_SET}.get(table, SCORES)
    plain = scores(minutes, tickers=TICKERS).to_pylist()
    rows = [{name: row.get(name) for name in of.columns.names} for row in plain]
    return stamped(
        pa.Table.from_pylist(rows, schema=of.columns).drop_columns([BARS_FETCHED_AT]), bars(minutes, tickers=TICKERS)
    )


# Heal


def test_minutes_without_a_final_reason_are_asked_for_again_of_the_tickers_that_have_them(
    store: Store, instance: dg.DagsterInstance
) -> None:
    store.append("raw_prices", pa.concat_tables([bars(COUNT, tickers=("AAPL", "AMD")), unanswered(4, "NVDA", 10)]), {})
    requests, said, cursor = tick(heal_sensor(FLOW), store, instance)
    assert requests == []
    assert said.startswith("4 minutes of 1 tickers in 2026-11-20 have no final reason and are asked for again from")
    (request,), _, cursor = tick(heal_sensor(FLOW), store, instance, NOW + FIRST_WAIT, cursor)
    source = Answering()
    assert run(request, store, source, instance).success
    assert source.asked == [(SESSION.open, minute(13), ("NVDA",))]
    healed = store.read("raw_prices", from_ticker="NVDA", first=minute(10))
    assert healed["reason"].to_pylist() == ["present"] * 4
    assert healed["known_at"].to_pylist() == [NOW] * 4
    assert tick(heal_sensor(FLOW), store, instance, NOW + FIRST_WAIT, cursor)[1] == (
        "Every minute that was answered has a final reason."
    )


def test_what_is_asked_for_in_vain_is_asked_for_less_and_less_often(store: Store, instance: dg.DagsterInstance) -> None:
    store.append("raw_prices", unanswered(4, "NVDA"), {})
    cursor, asked = None, list[datetime]()
    for step in range(480):
        market = NOW + step * timedelta(seconds=15)
        requests, _, cursor = tick(heal_sensor(FLOW), store, instance, market, cursor)
        asked += [market] * len(requests)
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert 4 <= len(asked) <= 40
    assert max(gaps) > timedelta(minutes=4)
    assert json.loads(cursor or "")["plans"]["2026-11-20"]["NVDA"]["attempts"] == len(asked)


def test_a_ticker_that_is_asked_in_vain_does_not_keep_another_waiting(
    store: Store, instance: dg.DagsterInstance
) -> None:
    store.append("raw_prices", unanswered(4, "NVDA"), {})
    cursor, market = None, NOW
    for _ in range(240):
        _, _, cursor = tick(heal_sensor(FLOW), store, instance, market, cursor)
        market += timedelta(seconds=15)
    store.append("raw_prices", unanswered(1, "AMD", 20), {})
    asked: list[str] = []
    for _ in range(5):
        requests, _, cursor = tick(heal_sensor(FLOW), store, instance, market, cursor)
        asked += [ticker for one in requests for ticker in one.run_config["ops"][OP]["config"]["tickers"]]
        market += timedelta(seconds=15)
    assert "AMD" in asked


def test_the_same_store_is_looked_at_once(store: Store, instance: dg.DagsterInstance) -> None:
    store.append("raw_prices", bars(COUNT, tickers=TICKERS), {})
    _, said, cursor = tick(heal_sensor(FLOW), store, instance)
    assert said == "Every minute that was answered has a final reason."
    assert tick(heal_sensor(FLOW), store, instance, cursor=cursor)[2] == cursor


def test_before_the_first_answer_nothing_is_healed_swept_or_recomputed(
    store: Store, instance: dg.DagsterInstance
) -> None:
    for sensor in (heal_sensor(FLOW), sweep_sensor(FLOW), recompute_sensor(FLOW, jobs(FLOW))):
        requests, said, _ = tick(sensor, store, instance)
        assert requests == []
        assert said


# Sweep


def test_a_sweep_adds_a_version_of_each_revised_bar_and_says_how_many(
    store: Store, instance: dg.DagsterInstance
) -> None:
    store.append("raw_prices", bars(COUNT, tickers=TICKERS), {})
    store.append("raw_prices", bars(2, start=5, tickers=("AMD",), close=99.0, fetched_at=WALL), {})
    requests, _, cursor = tick(sweep_sensor(FLOW), store, instance, NOW - SWEEP_OPEN_EVERY)
    assert requests == []
    (request,), _, cursor = tick(sweep_sensor(FLOW), store, instance, NOW, cursor)
    source = Answering()
    result = run(request, store, source, instance)
    assert result.success
    assert source.asked == [(SESSION.open, minute(COUNT - 6), TICKERS)]
    assert store.read("raw_prices", every_version=True).num_rows == COUNT * len(TICKERS) + 4
    (observed,) = [event.asset_observation_data for event in result.get_asset_observation_events()]
    metadata = observed.asset_observation.metadata
    assert metadata["new versions"].value == 2
    assert metadata["minutes"].value == (COUNT - 5) * len(TICKERS)
    assert tick(sweep_sensor(FLOW), store, instance, cursor=cursor)[0] == []
    assert len(tick(sweep_sensor(FLOW), store, instance, NOW + SWEEP_OPEN_EVERY, cursor)[0]) == 1


def test_the_check_says_how_the_minutes_stand_after_they_were_asked_for_again(
    store: Store, instance: dg.DagsterInstance
) -> None:
    store.append("raw_prices", pa.concat_tables([bars(COUNT, tickers=("AAPL", "AMD")), unanswered(COUNT, "NVDA")]), {})
    _, _, cursor = tick(sweep_sensor(FLOW), store, instance, NOW - SWEEP_OPEN_EVERY)
    (request,), _, _ = tick(sweep_sensor(FLOW), store, instance, NOW, cursor)
    assert run(request, store, Answering(), instance).success
    key = dg.AssetCheckKey(FLOW.key("raw_prices"), CHECKS[0].name)
    (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.status is AssetCheckExecutionRecordStatus.SUCCEEDED


def test_one_run_asks_again_at_a_time(store: Store, instance: dg.DagsterInstance) -> None:
    store.append("raw_prices", pa.concat_tables([bars(COUNT, tickers=("AAPL", "AMD")), unanswered(4, "NVDA")]), {})
    _, _, cursor = tick(heal_sensor(FLOW), store, instance)
    instance.add_run(dg.DagsterRun(job_name=ASK_AGAIN, status=dg.DagsterRunStatus.STARTED))
    swept = json.dumps({SESSION.label(): minute(1).isoformat()})
    for sensor, known in ((heal_sensor(FLOW), cursor), (sweep_sensor(FLOW), swept)):
        requests, said, _ = tick(sensor, store, instance, NOW + FIRST_WAIT, known)
        assert requests == []
        assert f"A run of {ASK_AGAIN} is at work" in said


# Recompute


def revise(store: Store, number: int) -> None:
    store.append("raw_prices", bars(1, start=number, tickers=("AMD",), close=99.0, fetched_at=WALL), {})


def filled(store: Store) -> None:
    store.append("raw_prices", bars(COUNT + 1, tickers=TICKERS), {})
    for table in ("features", "scores"):
        store.append(table, made(table, COUNT), {})


def test_a_revision_has_its_minute_and_the_later_ones_made_again_and_no_others(
    store: Store, instance: dg.DagsterInstance
) -> None:
    filled(store)
    sensor = recompute_sensor(FLOW, jobs(FLOW))
    assert tick(sensor, store, instance)[1] == "Nothing is out of date."
    revise(store, 12)
    (request,), _, _ = tick(sensor, store, instance)
    assert request.job_name == RECOMPUTE
    assert request.tags == FLOW.window.select(minute(12), minute(COUNT - 1)).tags()


def test_what_was_made_again_is_up_to_date(store: Store, instance: dg.DagsterInstance) -> None:
    filled(store)
    revise(store, 12)
    make_again(store, "features", "scores")
    requests, said, cursor = tick(recompute_sensor(FLOW, jobs(FLOW)), store, instance)
    assert (requests, said) == ([], "Nothing is out of date.")
    assert set(json.loads(cursor or "")["current"]) == {SESSION.label()}


def test_a_minute_that_is_still_on_its_way_through_the_flow_is_left_to_its_run(
    store: Store, instance: dg.DagsterInstance
) -> None:
    store.append("raw_prices", bars(COUNT + 1, tickers=TICKERS), {})
    store.append("features", made("features", COUNT + 1), {})
    store.append("scores", made("scores", COUNT), {})
    revise(store, COUNT)
    assert tick(recompute_sensor(FLOW, jobs(FLOW)), store, instance)[0] == []
    revise(store, 12)
    (request,), _, _ = tick(recompute_sensor(FLOW, jobs(FLOW)), store, instance)
    assert request.tags == FLOW.window.select(minute(12), minute(COUNT - 1)).tags()


def test_the_minutes_of_a_live_run_at_work_are_left_to_it(store: Store, instance: dg.DagsterInstance) -> None:
    filled(store)
    revise(store, 12)
    tags = FLOW.window.select(minute(20), minute(COUNT)).tags()
    instance.add_run(dg.DagsterRun(job_name=LIVE, status=dg.DagsterRunStatus.STARTED, tags=tags))
    (request,), _, _ = tick(recompute_sensor(FLOW, jobs(FLOW)), store, instance)
    assert request.tags == FLOW.window.select(minute(12), minute(19)).tags()


def test_a_sweep_leaves_minutes_that_no_run_has_answered_to_the_live_sensor(
    store: Store, instance: dg.DagsterInstance
) -> None:
    store.append("raw_prices", bars(10, tickers=TICKERS), {})
    swept = json.dumps({SESSION.label(): minute(1).isoformat()})
    (request,), _, _ = tick(sweep_sensor(FLOW), store, instance, NOW, swept)
    assert request.run_config["ops"][OP]["config"]["last"] == minute_label(minute(9))


@pytest.mark.parametrize("behind", ["features", "scores"])
def test_what_either_end_of_the_flow_was_made_of_before_a_revision_is_made_again(
    store: Store, instance: dg.DagsterInstance, behind: str
) -> None:
    filled(store)
    revise(store, 12)
    ahead = "scores" if behind == "features" else "features"
    make_again(store, ahead)
    assert len(tick(recompute_sensor(FLOW, jobs(FLOW)), store, instance)[0]) == 1


def test_a_training_set_that_was_learnt_from_bars_revised_since_is_made_again_after_the_minutes(
    store: Store, instance: dg.DagsterInstance
) -> None:
    filled(store)
    store.append("training_set", made("training_set", COUNT), {})
    sensor = recompute_sensor(FLOW, jobs(FLOW))
    assert tick(sensor, store, instance)[0] == []
    revise(store, 12)
    (request,), _, _ = tick(sensor, store, instance)
    assert request.job_name == RECOMPUTE
    make_again(store, "features", "scores")
    (request,), _, _ = tick(sensor, store, instance)
    assert (request.job_name, request.partition_key) == ("training_set", SESSION.label())
    make_again(store, "training_set")
    assert tick(sensor, store, instance)[0] == []


def test_rows_of_a_ticker_that_has_left_the_window_are_left_as_they_are(
    store: Store, instance: dg.DagsterInstance
) -> None:
    filled(store)
    revise(store, 12)
    rest = replace(FLOW, window=replace(FLOW.window, tickers=("AAPL", "NVDA")))
    assert tick(recompute_sensor(rest, jobs(rest)), store, instance)[0] == []


def test_a_run_at_work_is_waited_for_and_one_that_changed_nothing_is_requested_again_after_a_while(
    store: Store, instance: dg.DagsterInstance
) -> None:
    filled(store)
    revise(store, 12)
    sensor = recompute_sensor(FLOW, jobs(FLOW))
    (_,), _, cursor = tick(sensor, store, instance)
    run = instance.add_run(dg.DagsterRun(job_name=RECOMPUTE, status=dg.DagsterRunStatus.STARTED))
    assert tick(sensor, store, instance, cursor=cursor)[1] == f"A run of {RECOMPUTE} is still at work."
    instance.report_run_failed(run)
    (record,) = instance.get_run_records()
    assert record.end_time is not None
    failed = at(NOW).clock.at(datetime.fromtimestamp(record.end_time, UTC))
    requests, said, cursor = tick(sensor, store, instance, failed + MINUTE, cursor)
    assert requests == []
    assert "is out of date, and the run that was to mend it changed nothing. It is requested again in 0:04" in said
    assert len(tick(sensor, store, instance, failed + WAIT_AFTER_FAILURE + MINUTE, cursor)[0]) == 1


def test_a_session_that_cannot_be_mended_keeps_no_other_waiting(store: Store, instance: dg.DagsterInstance) -> None:
    earlier = session_before(SESSION)
    both = replace(FLOW, window=replace(FLOW.window, sessions=(earlier, SESSION)))
    filled(store)
    day = (SESSION.open - earlier.open) // MINUTE * MINUTE
    for table in ("raw_prices", "features", "scores"):
        store.append(table, moved(store.read(table), day), {})
    revise(store, 12)
    store.append(
        "raw_prices",
        moved(store.read("raw_prices", first=minute(12), last=minute(12), from_ticker="AMD", to_ticker="AMD"), day),
        {},
    )
    sensor = recompute_sensor(both, jobs(both))
    (first,), _, cursor = tick(sensor, store, instance)
    (second,), _, _ = tick(sensor, store, instance, cursor=cursor)
    sessions = [request.tags["dagster/asset_partition_range_start"][:10] for request in (first, second)]
    assert sessions == [earlier.label(), SESSION.label()]


def moved(rows: pa.Table, earlier: timedelta) -> pa.Table:
    """The rows of a session as those of the one before."""
    table = rows.replace_schema_metadata(None).to_pylist()
    day = session_before(SESSION).date
    return pa.Table.from_pylist(
        [{**row, "session": day, "minute": row["minute"] - earlier} for row in table], schema=rows.schema
    )


def make_again(store: Store, *tables: str) -> None:
    """What a run of the job recompute does to these tables."""
    for table in tables:
        again = stamped(made(table, COUNT).drop_columns([BARS_FETCHED_AT]), store.read("raw_prices"))
        store.replace(table, again, f"session = '{SESSION.date}'", {})
