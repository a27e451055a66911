"""Every setting of stockpick, and the only module that reads the environment.

A setting is an environment variable `STOCKPICK_<NAME>`, or a line of `.env`, or a line of `<home>/stockpick.env`,
which `stockpick up` writes so that a second terminal sees the same source, clock and credentials; the first of the
three that has it wins. What belongs here: names, types, defaults and their validation. What does not: anything that
acts on them.
"""

import os
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AwareDatetime, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.closings import Closing, parse_closings
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.rules import rules_from
from stockpick_assets.core.schemas import DEFAULT_KINDS, KINDS
from stockpick_assets.core.universe import checked_tickers

PREFIX = "STOCKPICK_"
Source = Literal["simulated", "recorded", "yahoo"]
SOURCES: tuple[Source, ...] = get_args(Source)
# Ports from 3000 on that browsers refuse to open (the "bad ports" of the Fetch standard).
BAD_PORTS = frozenset({3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080})


class SettingsError(StockpickError):
    """A setting is missing or cannot be used; the message names it and says what it takes."""


def _local(scheme: str, port: int) -> Any:
    """A default address on this machine; `port_offset` moves every one of them, so that two copies can run."""

    def address(data: dict[str, Any]) -> str:
        return f"{scheme}127.0.0.1:{port + data.get('port_offset', 0)}"

    return Field(default_factory=address)


class Settings(BaseSettings):
    """The settings of one copy of stockpick. Frozen: a changed setting is a new object."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(Path(".stockpick"), description="where the local services keep data, logs and process ids")
    port_offset: int = Field(0, ge=0, le=20000, description="added to every default port")

    source: Source = Field("simulated", description="where bars come from")
    bars: Path | None = Field(None, description="the Parquet file that the recorded source replays")
    tickers: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="comma-separated; empty: the NASDAQ-100 as of each session, or every ticker of the recorded file",
    )
    extra_tickers: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="comma-separated; asked for in every session, beside the others"
    )
    closings: Annotated[tuple[Closing, ...], NoDecode] = Field(
        (), description="unscheduled closings of the exchange: 2026-12-01, or 2026-12-01 13:00-16:00, comma-separated"
    )
    last_session: date | None = Field(None, description="newest session of the window; empty: the source's newest")
    sessions: int = Field(5, ge=1, le=30, description="how many sessions the window of live partitions holds")
    seed: int = Field(7, ge=0, description="seed of the simulated exchange, and of pauses")
    simulated_effect: bool = Field(True, description="whether the simulated exchange has something for a model to find")
    speed: float = Field(1.0, gt=0, le=600, description="market minutes a minute, for a replayed clock")
    replay_started_at: AwareDatetime | None = Field(None, description="wall time at which the replay began")
    replay_from: AwareDatetime | None = Field(None, description="market time at which the replay began")

    bar_delay_seconds: float = Field(2.0, ge=0, description="how long after its close a bar is asked for")
    yahoo_url: str = Field("https://query2.finance.yahoo.com", description="base address of the chart API")
    yahoo_requests_a_minute: int = Field(150, ge=1, description="most requests to Yahoo in any minute")
    yahoo_in_flight: int = Field(8, ge=1, description="requests to Yahoo at one time")
    yahoo_timeout_seconds: float = Field(10.0, gt=0, description="time-out of one request to Yahoo")
    yahoo_budget: Path | None = Field(
        None, description="where processes count their requests; empty: yahoo_budget.sqlite in the home"
    )

    store_root: str = Field("", description="a folder to keep the tables in; empty: the bucket")
    s3_endpoint: str = _local("http://", 8333)
    s3_bucket: str = "stockpick"
    s3_region: str = "us-east-1"
    keep_versions_days: int = Field(7, ge=1, description="how long a replaced version of a table can still be read")
    keep_runs_days: int = Field(7, ge=1, description="how long a run stays that has no partition of the window")
    s3_access_key: SecretStr = SecretStr("")
    s3_secret_key: SecretStr = SecretStr("")
    kafka_bootstrap: str = _local("", 9092)
    kafka_security_protocol: Literal["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_username: str = ""
    kafka_password: SecretStr = SecretStr("")
    topic_partitions: int | None = Field(None, ge=1, description="of each new topic; empty: the broker's default")
    topic_replication: int | None = Field(None, ge=1, description="copies of each topic; empty: the broker's default")
    topic_retention_hours: int | None = Field(
        None, ge=1, description="how long the topics keep a message; empty: the broker's default"
    )
    spark_remote: str = _local("sc://", 15002)
    dagster_url: str = _local("http://", 3000)
    dagster_code_server: str = _local("", 4000)
    app_url: str = _local("http://", 8501)

    kinds: Annotated[tuple[str, ...], NoDecode] = Field(
        DEFAULT_KINDS, description=f"comma-separated; the kinds of models of each session: {', '.join(KINDS)}"
    )
    cost_bp: float = Field(2.0, ge=0, description="stated cost of a round trip, in basis points")
    alert_urls: SecretStr = Field(SecretStr(""), description="Apprise addresses, separated by blanks")
    alert_rules: str = Field("", description="numbers of the rules of alerts, comma-separated: new_best=0.55, move=off")

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """Read the environment, then `.env`, then `<home>/stockpick.env`; `overrides` win over all of them.

        Raises SettingsError, one line a problem, when a value cannot be used.
        """
        home = Path(overrides.get("home") or os.environ.get(f"{PREFIX}HOME") or cls.model_fields["home"].default)
        try:
            return cls(_env_file=(home / "stockpick.env", ".env"), **overrides)  # pyright: ignore[reportCallIssue]
        except ValidationError as error:
            problems = [
                (f"{PREFIX}{str(problem['loc'][0]).upper()}: " if problem["loc"] else "")
                + problem["msg"].removeprefix("Value error, ")
                for problem in error.errors(include_input=False, include_url=False)
                if problem["type"] != "default_factory_not_called"  # a default that another wrong value left without
            ]
            raise SettingsError("; ".join(problems)) from None

    @field_validator("tickers", "extra_tickers", mode="before")
    @classmethod
    def _split_tickers(cls, value: object) -> object:
        if isinstance(value, str):
            value = tuple(part.strip().upper() for part in value.split(",") if part.strip())
        return checked_tickers(value) if isinstance(value, tuple | list) else value

    @field_validator("kinds", mode="before")
    @classmethod
    def _split_kinds(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip().lower() for part in value.split(",") if part.strip())

    @field_validator("kinds")
    @classmethod
    def _are_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value) or not set(value) <= set(KINDS):
            raise ValueError(f"takes one or more of {', '.join(KINDS)}, each once")
        if "average" in value and not {"linear", "reversal"} <= set(value):
            raise ValueError("average is the mean of linear and reversal: name these two as well")
        return value

    @field_validator("closings", mode="before")
    @classmethod
    def _parse_closings(cls, value: object) -> object:
        return parse_closings(value) if isinstance(value, str) else value

    @field_validator("alert_rules")
    @classmethod
    def _are_rules(cls, value: str) -> str:
        rules_from(value)
        return value

    @field_validator("store_root")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return value and str(Path(value).absolute())  # the services have working folders of their own

    @field_validator("s3_endpoint", "dagster_url", "app_url", "yahoo_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError("takes an address such as http://127.0.0.1:8333")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        if self.source == "recorded" and self.bars is None:
            raise ValueError(f"{PREFIX}BARS must name the Parquet file that the recorded source replays")
        if (self.replay_started_at is None) != (self.replay_from is None):
            raise ValueError(f"{PREFIX}REPLAY_STARTED_AT and {PREFIX}REPLAY_FROM are set together")
        for page in (self.dagster_url, self.app_url):
            if urlsplit(page).port in BAD_PORTS:
                raise ValueError(f"browsers refuse to open {page}; choose another {PREFIX}PORT_OFFSET or address")
        return self

    @property
    def clock(self) -> MarketClock:
        """Market time as a function of wall time: the same for Yahoo, replayed for the other sources."""
        return MarketClock(self.replay_started_at, self.replay_from, self.speed)

    def kafka_security(self) -> dict[str, str]:
        """How a client of Kafka logs in, in kafka-python's words; empty where no login is asked for."""
        if self.kafka_security_protocol == "PLAINTEXT":
            return {}
        return {
            "security_protocol": self.kafka_security_protocol,
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": self.kafka_username,
            "sasl_plain_password": self.kafka_password.get_secret_value(),
        }

    def environment(self) -> dict[str, str]:
        """Every setting as the environment variables of a child process, secrets included, none of them a default's."""
        values: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None or value == ():
                continue
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif isinstance(value, tuple):
                value = ",".join(map(str, value))
            elif isinstance(value, datetime | date):
                value = value.isoformat()
            elif isinstance(value, Path):
                value = value.absolute()
            values[f"{PREFIX}{name.upper()}"] = str(value)
        return values
