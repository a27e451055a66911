"""A ticker that is not of the session, from its bars to its grade: it abstains, and the others do not notice it."""

from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from stockpick_assets.core.answers import Request
from stockpick_assets.core.closings import parse_closings
from stockpick_assets.core.expected import answers
from stockpick_assets.core.factors import aligned
from stockpick_assets.core.grading import scores
from stockpick_assets.core.market_hours import MINUTE, Session, session_on
from stockpick_assets.core.messages import Origin, parse_message, with_messages
from stockpick_assets.core.ranking import picks
from stockpick_assets.core.schemas import FACTORS, PREDICTIONS
from stockpick_assets.core.universe import Universe
from stockpick_assets.relay import complete_minutes
from stockpick_assets.resources.simulated import SimulatedExchange
from stockpick_assets.spark.features import COMPUTED, features
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.scoring import NO_BAR, Model, SessionModels, predict
from stockpick_assets.spark.training import LABELLED, fit, training_rows

LEARNT, ASKED = session_on(date(2026, 4, 17)), session_on(date(2026, 4, 20))
TICKERS = ("AAPL", "AMD", "CSCO", "INTC", "MSFT", "SNDK", "TEAM")
STRANGER = "TEAM"  # left with the session that is asked for
CLOSING = "2026-04-20 10:00-10:05"
MINUTES = 60


def bars(session: Session, tickers: tuple[str, ...]) -> pa.Table:
    """The session's first hour, answered by the simulated exchange where the answer is not known."""
    exchange, now = SimulatedExchange(7, TICKERS), session.open + timedelta(hours=2)

    def ask(request: Request) -> pa.Table:
        return exchange.bars(session, request.first, request.last, request.tickers, now, now)

    request = Request(session, session.open, session.open + (MINUTES - 1) * MINUTE, tickers, now, now)
    return answers("simulated", request, Universe(), parse_closings(CLOSING), ask)


def of_no_session(session: Session, tickers: Sequence[str]) -> pa.Table:
    """Factors of a session without a past."""
    return aligned(FACTORS.empty(), [session.date], tickers)


def featured(spark: SparkSession, session: Session, table: pa.Table) -> pa.Table:
    """Features of the session's bars."""
    nothing_known = frame(spark, of_no_session(session, pc.unique(table["ticker"]).to_pylist()))
    return rows(features(frame(spark, table), nothing_known, session.open), COMPUTED)


@pytest.fixture(scope="module")
def flow(spark: SparkSession) -> dict[str, pa.Table]:
    """Every table of the second session, with a model learnt from the first."""
    known = {session: bars(session, TICKERS) for session in (LEARNT, ASKED)}
    made = {session: featured(spark, session, table) for session, table in known.items()}
    bars_of_learnt, nothing_known = frame(spark, known[LEARNT]), frame(spark, of_no_session(LEARNT, TICKERS))
    learnt = training_rows(frame(spark, made[LEARNT]), bars_of_learnt, nothing_known)
    (fitted,) = fit(spark, rows(learnt, LABELLED), PREDICTIONS.empty(), ["linear"], 2.0, 7)
    assert fitted.pipeline is not None and fitted.worth is not None
    model = Model("linear", "v1", fitted.pipeline.stages[-1], 2.0, fitted.worth.coefficients, 0.003, 0.001)
    predicted = rows(predict(SessionModels(model, (model,)), frame(spark, made[ASKED])), PREDICTIONS)
    both = pa.concat_tables(known.values())
    span = (ASKED, ASKED.open, ASKED.open + (MINUTES - 1) * MINUTE, TICKERS)
    origin = Origin({"raw_prices": 1, "predictions": 1}, "s3://stockpick/simulated/", "run", ASKED.close)
    picked = with_messages(picks(predicted, both, *span, TICKERS, 2.0), origin, ASKED.close)
    graded = scores(picked, known[ASKED], *span, 2.0)
    return {"bars": known[ASKED], "features": made[ASKED], "predictions": predicted, "picks": picked, "scores": graded}


def of_stranger(table: pa.Table) -> list[dict]:
    return [row for row in table.to_pylist() if row["ticker"] == STRANGER]


def test_every_table_has_a_row_of_every_ticker_and_no_number_that_is_none(flow: dict[str, pa.Table]) -> None:
    for name, table in flow.items():
        assert table.num_rows == MINUTES * len(TICKERS), name
        for column in table.schema:
            if column.type == pa.float64():
                assert not pc.any(pc.is_nan(table[column.name])).as_py(), (name, column.name)


def test_a_ticker_that_is_not_listed_abstains_and_has_no_rank(flow: dict[str, pa.Table]) -> None:
    assert {row["reason"] for row in of_stranger(flow["bars"])} == {"not_listed"}
    for name in ("predictions", "picks"):
        assert {row["abstain"] for row in of_stranger(flow[name])} == {NO_BAR}
    assert {row["rank"] for row in of_stranger(flow["picks"])} == {None}
    assert {row["change_day"] for row in of_stranger(flow["picks"])} == {None}
    late = [row["ungraded"] for row in of_stranger(flow["scores"])[5:]]
    assert set(late) == {f"the forecast abstained ({NO_BAR})"}


def test_ranks_are_over_the_others_alone(flow: dict[str, pa.Table]) -> None:
    ranked = 0
    for number in range(MINUTES):
        at = ASKED.open + number * MINUTE
        ranks = sorted(row["rank"] for row in flow["picks"].to_pylist() if row["minute"] == at and row["rank"])
        assert ranks == list(range(1, len(ranks) + 1))
        ranked = max(ranked, len(ranks))
    assert ranked == len(TICKERS) - 1


def test_the_others_come_out_as_if_it_was_not_there(spark: SparkSession, flow: dict[str, pa.Table]) -> None:
    members = tuple(ticker for ticker in TICKERS if ticker != STRANGER)
    alone = featured(spark, ASKED, bars(ASKED, members))
    together = flow["features"].filter(pc.not_equal(flow["features"]["ticker"], STRANGER))
    assert together.equals(alone)


def test_a_minute_in_which_the_exchange_was_closed_abstains_for_all(flow: dict[str, pa.Table]) -> None:
    closed = [row for row in flow["picks"].to_pylist() if 30 <= (row["minute"] - ASKED.open) // MINUTE < 35]
    assert len(closed) == 5 * len(TICKERS)
    assert {(row["rank"], row["abstain"]) for row in closed} == {(None, NO_BAR)}


def test_every_minute_is_complete_for_the_relay_and_says_why_there_is_no_forecast(flow: dict[str, pa.Table]) -> None:
    assert len(complete_minutes(flow["picks"], TICKERS)) == MINUTES
    assert {parse_message(row["message"]).abstain for row in of_stranger(flow["picks"])} == {NO_BAR}
