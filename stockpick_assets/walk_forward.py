"""The work of the flow, session by session, over bars in memory: production's functions without Dagster or a store.

Each session has what it would have had: factors and models of the sessions before it, then features, forecasts, the
training set, and how the forecasts did. What belongs here: the order of the steps and what each is given. What does
not: any step, or what is concluded from them (proof.py, cli/evaluate.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from stockpick_assets.core import ranking
from stockpick_assets.core.abstaining import doubt
from stockpick_assets.core.answers import BACKFILL_LAG
from stockpick_assets.core.calibration import CALIBRATION_SESSIONS
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.factors import BARS_SESSIONS, TRAINING_SESSIONS, factors, matched
from stockpick_assets.core.market_hours import Session, session_on
from stockpick_assets.core.performance import REFERENCE_SESSIONS, performance
from stockpick_assets.core.registry import champion, decided
from stockpick_assets.core.schemas import CHAMPIONS, PERFORMANCE, PREDICTIONS, RAW_PRICES, TRAINING_SET, TableSchema
from stockpick_assets.core.versions import known, stamped
from stockpick_assets.resources.market_data import MarketData
from stockpick_assets.spark.features import COMPUTED, features
from stockpick_assets.spark.frames import frame, rows
from stockpick_assets.spark.indicators import indicators
from stockpick_assets.spark.scoring import FITTED_OF, Model, SessionModels, abstained, predict
from stockpick_assets.spark.training import FIT_SESSIONS, LABELLED, FittedModel, fit, training_rows
from stockpick_assets.store import Store


@dataclass(frozen=True)
class Market:
    """The bars of some sessions. versions: RAW_PRICES of one of them, every version that there is."""

    source: str
    sessions: tuple[Session, ...]
    tickers: tuple[str, ...]
    versions: Callable[[Session], pa.Table] = field(repr=False)

    def until(self, session: Session, count: int) -> "Market":
        """The same up to that session, with at most `count` before it."""
        place = self.sessions.index(session)
        return replace(self, sessions=self.sessions[max(place - count, 0) : place + 1])


def market_of_source(name: str, source: MarketData, sessions: Sequence[Session], tickers: Sequence[str]) -> Market:
    """What a source of bars answers when it is asked once, BACKFILL_LAG after the close of each session."""

    def answered(session: Session) -> pa.Table:
        asked = session.close + BACKFILL_LAG
        return source.bars(session, session.open, session.last_minute, tickers, asked, asked)

    return Market(name, tuple(sessions), tuple(sorted(tickers)), answered)


def market_of_store(store: Store) -> Market:
    """The sessions of the table raw_prices. Raises StoreError, and StockpickError where there is none."""
    contents = store.contents(RAW_PRICES.name)
    sessions = [session_on(day) for day in sorted(contents.files)]
    if not sessions:
        raise StockpickError(f"{store.source}/raw_prices has no rows yet; `stockpick backfill` fetches sessions")
    named = store.read(RAW_PRICES.name, from_session=sessions[0].date, columns=["ticker"], version=contents.version)

    def stored(session: Session) -> pa.Table:
        return store.read(
            RAW_PRICES.name,
            from_session=session.date,
            to_session=session.date,
            version=contents.version,
            every_version=True,
        )

    return Market(store.source, tuple(sessions), tuple(sorted(set[Any](named["ticker"].to_pylist()))), stored)


def earlier(sessions: Sequence[date], session: date) -> list[date]:
    """The sessions that the factors and models of `session` may be made of: whole ones, and none of its own."""
    return [day for day in sessions if day < session]


@dataclass(frozen=True)
class Steps:
    """The functions of the flow, in its order; production's by default.

    A walk makes no indicators and no picks, of which nothing is learnt: the proof does. Its tests put others in their
    place, to see that it finds what they do wrong.
    """

    bars_known: Callable[[pa.Table, datetime], pa.Table] = known
    read_by_factors: Callable[[Sequence[date], date], list[date]] = earlier
    read_by_models: Callable[[Sequence[date], date], list[date]] = earlier
    factors: Callable[[Session, Sequence[str], str, pa.Table, pa.Table], pa.Table] = factors
    features: Callable[[DataFrame, DataFrame, datetime], DataFrame] = features
    indicators: Callable[[DataFrame, datetime], DataFrame] = indicators
    training_rows: Callable[[DataFrame, DataFrame, DataFrame], DataFrame] = training_rows
    fit: Callable[..., tuple[FittedModel, ...]] = fit
    predict: Callable[[SessionModels, DataFrame], DataFrame] = predict
    picks: Callable[..., pa.Table] = ranking.picks
    performance: Callable[[pa.Table, pa.Table, pa.Table, Session, str, float], pa.Table] = performance


@dataclass(frozen=True)
class Terms:
    """What is the same in every session.

    fit_after: how many earlier sessions the first model is fitted to.
    """

    kinds: tuple[str, ...]
    cost_bp: float
    seed: int
    fit_after: int = 1


@dataclass(frozen=True)
class Completed:
    """What a completed session leaves to later ones: rows RAW_PRICES, TRAINING_SET, PREDICTIONS and PERFORMANCE."""

    session: Session
    bars: pa.Table
    training: pa.Table
    predictions: pa.Table
    performance: pa.Table = field(default_factory=PERFORMANCE.empty)


@dataclass(frozen=True)
class Walked(Completed):
    """All of a session: also rows FACTORS and FEATURE_ROWS, and its models, None where there were none."""

    factors: pa.Table = field(kw_only=True)
    features: pa.Table = field(kw_only=True)
    models: SessionModels | None = field(kw_only=True)

    def completed(self) -> Completed:
        """What is kept of it: features are in the training set once more, and 16 MB a session of 100 tickers."""
        return Completed(self.session, self.bars, self.training, self.predictions, self.performance)


@dataclass(frozen=True)
class Walk:
    """Walks over the sessions of a market."""

    spark: SparkSession
    market: Market
    terms: Terms
    steps: Steps = field(default_factory=Steps)

    def sessions(self) -> Iterator[Walked]:
        """Each session of the market after the other; a session is done when its forecasts are graded."""
        past: list[Completed] = []
        for session in self.market.sessions:
            walked = self.graded(self.forecast(session, self.market.versions(session), past), past)
            past.append(walked.completed())
            yield walked

    def forecast(
        self, session: Session, versions: pa.Table, past: Sequence[Completed], as_of: datetime | None = None
    ) -> Walked:
        """A session up to its forecasts.

        versions: RAW_PRICES of it, every version. past: earlier sessions, ascending. as_of: the market time whose
        knowledge of the bars is used, BACKFILL_LAG after the close where none is given: what came later is a revision.
        """
        return self.made_of(self.steps.bars_known(versions, as_of or session.close + BACKFILL_LAG), session, past)

    def made_of(self, bars: pa.Table, session: Session, past: Sequence[Completed]) -> Walked:
        """The same of the bars that were known."""
        steps, spark = self.steps, self.spark
        # Among the others: that nothing is made of it, `read_by_factors` and `read_by_models` alone decide.
        own = Completed(session, bars, TRAINING_SET.empty(), PREDICTIONS.empty())
        sessions = [*past, own]
        read = steps.read_by_factors(_dates(sessions), session.date)
        made = steps.factors(
            session,
            self.market.tickers,
            self.market.source,
            _of(RAW_PRICES, "bars", sessions, read[-BARS_SESSIONS:]),
            _of(TRAINING_SET, "training", sessions, read[-TRAINING_SESSIONS:]),
        )
        bars_frame, factors_frame = (frame(spark, table) for table in matched(bars, made))
        computed = rows(steps.features(bars_frame, factors_frame, session.open), COMPUTED)
        features_frame = frame(spark, computed)
        labelled = rows(steps.training_rows(features_frame, bars_frame, factors_frame), LABELLED)
        own = replace(own, training=stamped(labelled, bars))
        models = self.models(session, [*past, own])
        forecasts = (
            abstained(computed, f"session {session.date} has no model")
            if models is None
            else rows(steps.predict(models, features_frame), PREDICTIONS)
        )
        return Walked(
            session, bars, own.training, forecasts, factors=made, features=stamped(computed, bars), models=models
        )

    def models(self, session: Session, completed: Sequence[Completed]) -> SessionModels | None:
        """The models of a session, fitted to the training sets of earlier ones; None where they are too few."""
        terms = self.terms
        read = self.steps.read_by_models(_dates(completed), session.date)
        training = _of(TRAINING_SET, "training", completed, read[-FIT_SESSIONS:])
        if len(training["session"].unique()) < terms.fit_after:
            return None
        predictions = _of(PREDICTIONS, "predictions", completed, read[-CALIBRATION_SESSIONS:])
        measured = _of(PERFORMANCE, "performance", completed, read)
        fitted = self.steps.fit(self.spark, training, predictions, terms.kinds, terms.cost_bp, terms.seed)
        kind = champion(self._decisions(session, completed, read), session.date, terms.kinds).kind
        models = {one.kind: _model(one, session, fitted, measured, terms.cost_bp) for one in fitted}
        return SessionModels(models[kind], tuple(models.values()))

    def _decisions(self, session: Session, completed: Sequence[Completed], read: Sequence[date]) -> pa.Table:
        """Rows CHAMPIONS: what the rule decided after each of the sessions that may be read."""
        champions, measured = CHAMPIONS.empty(), PERFORMANCE.empty()
        past = [one for one in completed if one.session.date in read]
        for one, following in zip(past, [*(later.session for later in past[1:]), session], strict=True):
            measured = pa.concat_tables([measured, one.performance])
            decision = decided(champions, measured, following.date, self.terms.kinds, one.session.close)
            if decision is not None:
                champions = pa.concat_tables([champions, decision.rows(self.market.source)])
        return champions

    def graded(self, walked: Walked, past: Sequence[Completed]) -> Walked:
        """The session with how its forecasts did. past: earlier sessions."""
        reference = _of(TRAINING_SET, "training", past, _dates(past)[-REFERENCE_SESSIONS:])
        source, cost_bp = self.market.source, self.terms.cost_bp
        found = self.steps.performance(walked.predictions, walked.training, reference, walked.session, source, cost_bp)
        return replace(walked, performance=found)


def _model(
    model: FittedModel, session: Session, fitted: Sequence[FittedModel], measured: pa.Table, cost_bp: float
) -> Model:
    """A fitted model as it is used, without the way through the store."""
    pipelines = {one.kind: one.pipeline for one in fitted}
    pipeline, worth = pipelines.get(FITTED_OF.get(model.kind, "")), model.worth
    return Model(
        kind=model.kind,
        version=f"{session.date}-{model.kind}",
        fitted=pipeline and pipeline.stages[-1],
        cost_bp=cost_bp,
        calibration=worth and worth.coefficients,
        return_per_score=worth and worth.return_per_score,
        obtainable_per_score=worth and worth.obtainable_per_score,
        abstain=model.abstain or doubt(measured, model.kind),
    )


def _dates(completed: Sequence[Completed]) -> list[date]:
    return [one.session.date for one in completed]


def _of(schema: TableSchema, name: str, completed: Sequence[Completed], sessions: Sequence[date]) -> pa.Table:
    """A table of those of the completed sessions."""
    return pa.concat_tables(
        [schema.empty(), *(getattr(one, name) for one in completed if one.session.date in sessions)]
    )
