"""The tables: their columns, types and keys. One declaration that the IO manager enforces and every reader relies on.

A minute is the start of its bar (UTC). A session is its date in New York, and the partition column of every table.
Returns are plain fractions (0.01 is one per cent). Prices are as traded, in dollars. A value that does not exist is
null, never NaN or 0.
"""

from dataclasses import dataclass

import pyarrow as pa

from stockpick_assets.core.feature_set import FEATURES, MEASURES
from stockpick_assets.core.indicators import INDICATORS

TIMESTAMP = pa.timestamp("us", tz="UTC")
# When the newest of the bars that a row was made from was fetched: a bar fetched later makes the row out of date.
BARS_FETCHED_AT = "bars_fetched_at"
# Of models: `linear`, `boosted` and `forest` are fitted by MLlib, `reversal` is the feature table's and fits nothing,
# `average` is the mean of the standardised linear and reversal scores.
KINDS = ("linear", "reversal", "average", "boosted", "forest")
DEFAULT_KINDS = KINDS[:3]
NAIVE = "naive"  # no model: minus the last minute's return, which each is measured against


@dataclass(frozen=True)
class TableSchema:
    """A table's name, Arrow schema, and the columns that identify a row among the newest versions."""

    name: str
    columns: pa.Schema
    key: tuple[str, ...]

    def empty(self) -> pa.Table:
        """A table of no rows."""
        return self.columns.empty_table()

    def without(self, *columns: str) -> "TableSchema":
        """The same but for some columns, which are filled later."""
        left = self.columns
        for column in columns:
            left = left.remove(left.names.index(column))
        return TableSchema(self.name, left, self.key)


def _table(name: str, key: tuple[str, ...], /, **columns: pa.DataType) -> TableSchema:
    return TableSchema(name, pa.schema([pa.field(column, kind) for column, kind in columns.items()]), key)


_ROW = {"session": pa.date32(), "minute": TIMESTAMP, "ticker": pa.string(), "source": pa.string()}
_FEATURES = {column.name: pa.float64() for column in (*MEASURES, *FEATURES)}
_INDICATORS = {indicator.name: pa.float64() for indicator in INDICATORS}
_STAMP = {BARS_FETCHED_AT: TIMESTAMP}
_SCORES = {f"score_{kind}": pa.float64() for kind in KINDS}

RAW_PRICES = _table(
    "raw_prices",
    ("minute", "ticker"),
    **_ROW,
    open=pa.float64(),
    high=pa.float64(),
    low=pa.float64(),
    close=pa.float64(),
    volume=pa.float64(),
    split=pa.float64(),  # shares that one share became at the start of this minute; null without a split
    reason=pa.string(),
    detail=pa.string(),  # of an error what the provider said, of what is withheld the rule it broke
    fetched_at=TIMESTAMP,  # wall time of the answer
    known_at=TIMESTAMP,  # market time at which stockpick could have acted on it
    backfilled=pa.bool_(),
)
FEATURE_ROWS = _table("features", ("minute", "ticker"), **_ROW, **_FEATURES, **_INDICATORS, **_STAMP)
PREDICTIONS = _table(
    "predictions",
    ("minute", "ticker"),
    **_ROW,
    score=pa.float64(),  # the champion's; higher is better; comparable within a minute only
    expected_excess_return=pa.float64(),  # close to close over five minutes, against the cross-section
    expected_obtainable_return=pa.float64(),  # before cost
    p_profit=pa.float64(),  # calibrated: the obtainable return beats the stated cost
    model_version=pa.string(),
    **_SCORES,
    abstain=pa.string(),  # why the forecast is not to be relied on, or why there is none
)
PICKS = _table(
    "picks",
    ("minute", "ticker"),
    **_ROW,
    rank=pa.int32(),  # 1 is the best of the minute; null without a forecast
    price=pa.float64(),  # the newest close of the session at that minute
    change_day=pa.float64(),  # against the previous session's last close, a split between them applied
    change_5m=pa.float64(),  # against the close five clock minutes before
    pop_window=pa.float64(),
    p_profit=pa.float64(),
    expected_excess_return=pa.float64(),
    expected_obtainable_return=pa.float64(),
    model_version=pa.string(),
    abstain=pa.string(),
    made_at=TIMESTAMP,  # market time
    published=pa.bool_(),  # whether this version goes out and is graded; one of each minute and ticker does
    message_id=pa.string(),
    message_version=pa.int32(),  # of the messages with this id; null where this version of the pick does not go out
    message=pa.string(),  # the JSON that goes out; null with it
)
# Of these what is not the pick itself: when it was made, and what is said of it.
OF_MESSAGE = ("made_at", "published", "message_id", "message_version", "message")
SCORES = _table(
    "scores",
    ("minute", "ticker"),
    **_ROW,
    forecast_minute=TIMESTAMP,
    rank=pa.int32(),
    p_profit=pa.float64(),
    obtainable_return=pa.float64(),  # next minute's open to the close five minutes after the forecast minute
    close_return=pa.float64(),  # from the forecast minute's own close: not tradable
    obtainable_after_cost=pa.float64(),  # the returns less the stated cost of a round trip
    close_after_cost=pa.float64(),
    profitable=pa.bool_(),  # the obtainable return beat the stated cost
    ungraded=pa.string(),  # why there is no grade; null where there is one
    **_STAMP,
)
TRAINING_SET = _table(
    "training_set",
    ("minute", "ticker"),
    **_ROW,
    **_FEATURES,
    neutral_forward=pa.float64(),  # log return over the five minutes after, market and factors taken out, in sig
    label=pa.float64(),  # what models are fitted to: percentile of the neutral close return in its minute, minus 1/2
    obtainable_return=pa.float64(),
    close_return=pa.float64(),
    **_STAMP,
)
RETURN_MODEL = _table(
    "return_model",
    ("session", "version"),
    session=pa.date32(),  # the session the model is valid for
    source=pa.string(),
    version=pa.string(),
    kind=pa.string(),  # one of KINDS
    path=pa.string(),  # folder below the store's root that MLlib saved to, linear's for average; null if none is fitted
    abstain=pa.string(),  # why its forecasts are not to be relied on, or why there is no model
    features=pa.list_(pa.string()),
    features_digest=pa.string(),  # of their definitions, core/feature_set.py
    training_sessions=pa.list_(pa.date32()),
    rows=pa.int64(),
    ic_sessions=pa.list_(pa.date32()),  # the sessions of the two lists below: forecasts made out of sample
    ic_close=pa.list_(pa.float64()),
    ic_obtainable=pa.list_(pa.float64()),
    brier=pa.float64(),  # the three: calibrated on all but the newest of these forecasts, measured on the newest
    brier_base_rate=pa.float64(),
    brier_volatility=pa.float64(),
    calibration=pa.list_(pa.float64()),  # of p_profit: one number a term of core/calibration.py; null if unknown
    expected_return_per_score=pa.float64(),  # times score and sig: the close return's excess, as a fraction
    expected_obtainable_per_score=pa.float64(),  # times score and sig: the obtainable return before cost, as a fraction
    cost_bp=pa.float64(),
    tables=pa.string(),  # JSON: version of each table that was read
    seed=pa.int64(),
    spark_version=pa.string(),
    fitted_at=TIMESTAMP,
    fit_seconds=pa.float64(),
)
FACTORS = _table(
    "factors",
    ("session", "ticker"),
    session=pa.date32(),  # the session they are valid for; made of earlier ones only
    source=pa.string(),
    ticker=pa.string(),
    sessions=pa.int32(),  # how many completed sessions they rest on
    sig_before=pa.float64(),  # mean over up to 5 sessions of the spread of the one-minute log return
    spread=pa.float64(),  # standard deviation of the five-minute excess log return
    basis=pa.list_(pa.float64()),  # the ticker's row of an orthonormal basis of the factors, orthogonal to the constant
    label_basis=pa.list_(pa.float64()),  # the same of the factors times `spread`, for the label
    projection=pa.list_(pa.float64()),  # the ticker's row of the matrix that takes factors out of a minute's returns
    slope_e1=pa.float64(),
    slope_cmid=pa.float64(),
    slope_es5=pa.float64(),
    drift=pa.float64(),
    dollar_volume=pa.float64(),  # log mean dollar volume of up to 10 sessions, standardised across tickers, within 3
    volume_at=pa.list_(pa.float64()),  # by minute of the session: mean over up to 10 sessions of the log volume
    return_at=pa.list_(pa.float64()),  # by minute of the session: mean of the next 30 minutes' return, in sig
)
PERFORMANCE = _table(
    "performance",
    ("session", "kind"),
    session=pa.date32(),
    source=pa.string(),
    kind=pa.string(),  # one of KINDS, or NAIVE
    version=pa.string(),
    champion=pa.bool_(),
    forecasts=pa.int64(),  # graded ones
    ic_close=pa.float64(),
    ic_close_error=pa.float64(),  # standard error of it
    ic_obtainable=pa.float64(),
    ic_obtainable_error=pa.float64(),
    hit_rate=pa.float64(),  # share of minutes whose top pick's obtainable return exceeds the tickers' mean
    top_return=pa.float64(),  # mean obtainable return of the top picks, before cost
    top_return_after_cost=pa.float64(),
    turnover=pa.float64(),  # share of the ten best tickers that the minute after replaces
    brier=pa.float64(),  # of the champion's p_profit
    brier_base_rate=pa.float64(),
    brier_volatility=pa.float64(),
    calibration_slope=pa.float64(),
    calibration_slope_error=pa.float64(),
    reliability_p=pa.list_(pa.float64()),  # by bin of p_profit: its mean, the share that paid, and how many
    reliability_paid=pa.list_(pa.float64()),
    reliability_count=pa.list_(pa.int64()),
    stability_index=pa.float64(),  # the largest population stability index of a feature
    stability_feature=pa.string(),  # and the feature that has it
    cost_bp=pa.float64(),
)
CHAMPIONS = _table(
    "champions",
    ("session", "decided_at"),
    session=pa.date32(),  # the first that it holds for
    source=pa.string(),
    kind=pa.string(),
    version=pa.string(),  # the one version that is used; null for the one fitted for each session
    decided_at=TIMESTAMP,  # wall time
    decided_by=pa.string(),  # `rule` or `person`
    reason=pa.string(),
)
UNIVERSE = _table(
    "universe",
    ("session", "ticker"),
    session=pa.date32(),
    source=pa.string(),
    ticker=pa.string(),
    name=pa.string(),  # of the company, with its kind of share; null where the settings name the ticker
    member=pa.bool_(),  # whether the session has it; false for a ticker that left with this session
    change=pa.string(),  # added, removed, renamed or delisted since the session before; null where nothing changed
    detail=pa.string(),
    data_as_of=pa.date32(),  # day of the newest change on record; null where the settings name every ticker
)
ALERTS = _table(
    "alerts",
    ("id",),
    session=pa.date32(),
    minute=TIMESTAMP,  # of the pick, or in which it began
    ticker=pa.string(),  # null of one that is about no single ticker
    source=pa.string(),
    id=pa.string(),  # source/minute/ticker/rule
    rule=pa.string(),
    text=pa.string(),
    status=pa.string(),  # pending, sent, failed, expired or suppressed
    detail=pa.string(),  # why it is what it is
    attempts=pa.int32(),
    accepted=pa.list_(pa.string()),  # the channels that took it
    created_at=TIMESTAMP,
    due_at=TIMESTAMP,  # not to be tried again before
    sent_at=TIMESTAMP,
    matters_until=TIMESTAMP,  # market time; the three above are wall time
)

TABLES: dict[str, TableSchema] = {
    table.name: table
    for table in (
        RAW_PRICES,
        FEATURE_ROWS,
        PREDICTIONS,
        PICKS,
        SCORES,
        TRAINING_SET,
        PERFORMANCE,
        FACTORS,
        RETURN_MODEL,
        CHAMPIONS,
        UNIVERSE,
        ALERTS,
    )
}
