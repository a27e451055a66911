"""Who was a member of the NASDAQ-100 when: recorded answers, and what must hold between any two days."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core.universe import (
    BESIDE,
    KNOWN_FROM,
    Change,
    Entry,
    Universe,
    UnknownMembership,
    changes,
    checked_tickers,
    data_as_of,
    ever_members,
    members,
    reconstituted,
)

days = st.dates(KNOWN_FROM, date(2027, 12, 31))


def told(before: date, after: date) -> list[tuple[str, bool, str | None, str | None]]:
    return [(entry.ticker, entry.member, entry.change, entry.detail) for entry in changes(before, after)]


@pytest.mark.parametrize(
    ("day", "number"),
    [
        (date(2020, 1, 2), 103),
        (date(2021, 12, 20), 101),
        (date(2025, 7, 25), 100),  # between Ansys, which was bought, and Thomson Reuters
        (date(2025, 10, 31), 102),  # Solstice, spun off from Honeywell, for five sessions
        (date(2026, 6, 22), 101),
    ],
)
def test_the_index_had_as_many_tickers_as_were_recorded(day: date, number: int) -> None:
    assert len(members(day)) == number


def test_the_reconstitution_of_december_2024_added_three_and_removed_three() -> None:
    assert told(date(2024, 12, 20), date(2024, 12, 23)) == [
        ("AXON", True, "added", None),
        ("ILMN", False, "removed", None),
        ("MRNA", False, "removed", None),
        ("MSTR", True, "added", None),
        ("PLTR", True, "added", None),
        ("SMCI", False, "removed", None),
    ]


def test_a_renamed_company_stays_under_its_new_ticker() -> None:
    assert "FB" in members(date(2022, 6, 8)) and "META" not in members(date(2022, 6, 8))
    assert told(date(2022, 6, 8), date(2022, 6, 9)) == [
        ("FB", False, "renamed", "now META"),
        ("META", True, "renamed", "was FB"),
    ]


def test_a_company_that_left_for_good_is_told_from_one_that_trades_on() -> None:
    assert Entry("ANSS", "Ansys", False, Change.DELISTED) in changes(date(2025, 7, 16), date(2025, 7, 17))
    assert Entry("TEAM", "Atlassian", False, Change.REMOVED) in changes(date(2026, 4, 17), date(2026, 4, 20))


def test_a_ticker_that_came_back_is_no_member_in_between() -> None:
    held = ["MRNA" in members(day) for day in (date(2024, 12, 20), date(2025, 6, 2), date(2026, 10, 9))]
    assert held == [True, False, True]


def test_after_the_newest_change_on_record_its_members_stay() -> None:
    assert members(data_as_of() + timedelta(days=900)) == members(data_as_of()) != members(data_as_of() - timedelta(1))


def test_days_before_the_record_are_refused_with_what_to_do() -> None:
    with pytest.raises(UnknownMembership, match=r"on 2019-12-31 is not recorded, only from 2020-01-01 on; .*TICKERS"):
        members(date(2019, 12, 31))


@given(days, days)
def test_changes_lead_from_the_members_of_one_day_to_those_of_another(one: date, other: date) -> None:
    before, after = sorted((one, other))
    found = changes(before, after)
    joined = {entry.ticker for entry in found if entry.member}
    left = {entry.ticker for entry in found if not entry.member}
    assert set(members(after)) == set(members(before)) - left | joined
    assert left <= set(members(before)) and not joined & set(members(before))
    assert all(entry.change is not None for entry in found)


@given(days)
def test_members_are_tickers_of_the_record_in_order(day: date) -> None:
    assert checked_tickers(members(day)) == members(day)
    assert set(members(day)) <= set(ever_members())
    assert 100 <= len(members(day)) <= 104


def test_named_tickers_replace_the_index_and_further_ones_extend_it() -> None:
    day = date(2026, 6, 22)
    assert Universe(fixed=("MSFT", "AAPL")).on(day) == ("AAPL", "MSFT")
    assert Universe(fixed=("MSFT",), extra=("AAPL",)).on(day) == ("AAPL", "MSFT")
    extended = Universe(extra=("AAPL", "BRK-B"))
    assert extended.on(day) == tuple(sorted({*members(day), "BRK-B"}))
    assert (Universe(fixed=("AAPL",)).as_of, extended.as_of) == (None, data_as_of())


def test_the_index_is_made_up_anew_on_the_monday_after_the_third_friday_of_december() -> None:
    reconstitutions = [reconstituted(year) for year in range(2020, data_as_of().year)]
    assert reconstitutions[:2] == [date(2020, 12, 21), date(2021, 12, 20)]
    assert all(changes(day - timedelta(days=1), day) for day in reconstitutions)


def test_a_record_is_outdated_from_the_first_yearly_change_that_it_lacks() -> None:
    coming = next(day for year in range(2026, 2100) if (day := reconstituted(year)) > data_as_of())
    assert not Universe().is_outdated(data_as_of() - timedelta(days=1000))
    assert not Universe().is_outdated(coming - timedelta(days=1))
    assert Universe().is_outdated(coming)
    assert Universe().is_outdated(coming + timedelta(days=1000))
    assert not Universe(fixed=("AAPL",)).is_outdated(date.max)


def test_named_tickers_need_no_record() -> None:
    assert Universe(fixed=("AAPL",)).on(date(1999, 12, 31)) == ("AAPL",)


def test_over_several_sessions_it_has_the_tickers_of_any_of_them() -> None:
    over = Universe().over((date(2025, 11, 5), date(2025, 11, 6)))
    assert set(over) - set(members(date(2025, 11, 6))) == {"SOLS"}


def test_a_session_lists_its_tickers_and_those_that_left_with_it() -> None:
    day, before = date(2022, 6, 9), date(2022, 6, 8)
    entries = {entry.ticker: entry for entry in Universe(extra=("BRK-B", "AAPL")).entries(day, before)}
    assert list(entries) == sorted({*members(day), "BRK-B", "FB"})
    assert entries["AAPL"] == Entry("AAPL", "Apple Inc.")
    assert entries["BRK-B"] == Entry("BRK-B", detail=BESIDE)
    assert entries["META"].change is entries["FB"].change is Change.RENAMED
    assert {ticker for ticker, entry in entries.items() if not entry.member} == {"FB"}


def test_of_the_first_session_on_record_nothing_is_known_to_have_changed() -> None:
    first, before = date(2020, 1, 2), date(2019, 12, 31)
    entries = Universe().entries(first, before)
    assert tuple(entry.ticker for entry in entries) == members(first)
    assert {entry.change for entry in entries} == {None}
    with pytest.raises(UnknownMembership, match="on 2019-12-31 is not recorded"):
        Universe().entries(before, date(2019, 12, 30))


def test_a_ticker_that_left_the_index_and_is_asked_for_beside_it_is_a_member() -> None:
    entries = Universe(extra=("TEAM",)).entries(date(2026, 4, 20), date(2026, 4, 17))
    assert Entry("TEAM", detail=BESIDE) in entries


def test_named_tickers_are_listed_without_a_name() -> None:
    entries = Universe(fixed=("AAPL",)).entries(date(2022, 6, 9), date(2022, 6, 8))
    assert entries == (Entry("AAPL"),)
