"""What a command of the terminal needs of the platform: its settings, definitions and Dagster instance."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import dagster as dg

from stockpick_assets.assets.flow import Flow
from stockpick_assets.core.errors import StockpickError
from stockpick_assets.core.market_hours import Session, session_on
from stockpick_assets.definitions import build_definitions, build_flow
from stockpick_assets.resources.now import wall_clock
from stockpick_assets.resources.sources import market_data
from stockpick_assets.services.dagster import instance_environment, lay_configuration
from stockpick_assets.settings import Settings


@dataclass(frozen=True)
class Platform:
    """The definitions of the settings' source, as they stand now."""

    settings: Settings
    flow: Flow
    definitions: dg.Definitions

    @classmethod
    def load(cls, settings: Settings) -> "Platform":
        """Build the definitions; what is secret reaches the resources through the environment, as in a service."""
        warnings.simplefilter("ignore", dg.BetaWarning)
        lay_configuration(settings)
        os.environ.update(instance_environment(settings))
        wall, source = wall_clock(), market_data(settings)
        return cls(settings, build_flow(settings, source, wall), build_definitions(settings, wall, market_data=source))

    def market_time(self) -> datetime:
        """Market time now."""
        return self.settings.clock.at(wall_clock())

    def sessions(self, first: str, last: str) -> list[Session]:
        """The window's sessions from one date to another. Raises StockpickError when either is none of them."""
        ends = [parsed_date(first), parsed_date(last)]
        if ends[0] > ends[1]:
            raise StockpickError(f"{first} comes after {last}; the earlier session comes first")
        for end in ends:
            self.flow.window.session(session_on(end).label())
        return [session for session in self.flow.window.sessions if ends[0] <= session.date <= ends[1]]

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The Dagster instance that the webserver and the daemon of this home use."""
        with dg.DagsterInstance.get() as instance:
            yield instance


def parsed_date(text: str) -> date:
    """The date that was typed. Raises StockpickError when it is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise StockpickError(f"{text!r} is no date; write it as 2026-11-23") from None


def parsed_tickers(text: str) -> Sequence[str]:
    """The tickers that were typed, separated by commas."""
    return tuple(part.strip().upper() for part in text.split(",") if part.strip())
