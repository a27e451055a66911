"""When requests may go out: what no order of askers, answers and refusals can exceed, and who goes first."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.core import budget
from stockpick_assets.core.budget import Account, Limits, Priority, live_minutes_come, priority
from stockpick_assets.core.market_hours import MINUTE, session_on

SESSION = session_on(date(2026, 11, 20))
LIMITS = Limits(a_minute=150, in_flight=8, live=101, timeout=10.0)
OPEN = SESSION.open.timestamp()
NIGHT = OPEN - 6 * 3600


def ask(
    account: Account, now: float, *, place: str = "one", priority: Priority = Priority.LIVE, limits: Limits = LIMITS
) -> tuple[Account, float]:
    return budget.asked(account, limits, place, priority, now)


def refused(now: float, retry_after: float | None = 60.0, account: Account | None = None) -> Account:
    """The account after one request at `now` got a 429 at once."""
    account, wait = ask(account or Account(), now)
    assert wait == 0
    return budget.refused(account, "one", now, now, retry_after, seed=7)


@given(
    steps=st.lists(
        st.tuples(
            st.floats(0.0, 20.0),
            st.sampled_from(Priority),
            st.floats(0.01, 12.0),
            st.sampled_from(["answer", "answer", "answer", "429", "nothing"]),
        ),
        max_size=120,
    ),
    begin=st.sampled_from([NIGHT, OPEN + 600, SESSION.close.timestamp() - 30]),
    limits=st.builds(
        Limits,
        a_minute=st.integers(1, 20),
        in_flight=st.integers(1, 4),
        live=st.integers(1, 10),
        timeout=st.just(10.0),
    ),
)
def test_no_order_of_askers_exceeds_rate_or_flight_or_sends_more_than_one_probe(
    steps: list[tuple[float, Priority, float, str]], begin: float, limits: Limits
) -> None:
    account, now = Account(), begin
    sent: list[float] = []
    under_way: dict[str, tuple[float, float, str]] = {}
    for number, (later, who, lasts, outcome) in enumerate(steps):
        now += later
        for place, (ends, sent_at, what) in sorted(under_way.items(), key=lambda item: item[1]):
            if ends <= now:
                del under_way[place]
                if what == "429":
                    account = budget.refused(account, place, sent_at, ends, None, seed=7)
                else:
                    account = budget.answered(account, place, ends, what == "answer")
        was = account
        account, wait = ask(account, now, place=str(number), priority=who, limits=limits)
        if wait:
            continue
        assert not was.open or now >= was.ask_from
        assert not was.open or was.probe is None or was.in_flight[was.probe][0] <= now
        sent.append(now)
        if outcome != "nothing":
            under_way[str(number)] = (now + min(lasts, limits.timeout), now, outcome)
        assert sum(now - 60 < at <= now for at in sent) <= limits.a_minute
        assert len(under_way) <= limits.in_flight


def test_while_history_is_asked_for_all_along_a_live_minute_still_goes_out_at_once() -> None:
    account, now, history = Account(), OPEN + 600, 0
    for minute in range(5):
        until = now + 55
        while now < until:
            account, wait = ask(account, now, place="history", priority=Priority.REST)
            history += wait == 0
            account = budget.answered(account, "history", now + 0.1, believed=True)
            now += max(wait, 0.1)
        now = OPEN + 600 + 60 * (minute + 1)
        for _ in range(101):
            account, wait = ask(account, now, place="live")
            assert wait == 0
            account = budget.answered(account, "live", now, believed=True)
    assert 5 * 44 <= history <= 5 * 49


def test_history_is_spaced_evenly_within_what_the_live_minute_leaves_while_a_session_is_open() -> None:
    for begin, spacing in ((OPEN + 600, 60 / 49), (NIGHT, 60 / 150)):
        account, _ = ask(Account(), begin, priority=Priority.REST)
        account = budget.answered(account, "one", begin, believed=True)
        assert ask(account, begin, priority=Priority.REST)[1] == pytest.approx(spacing)
        assert ask(account, begin + spacing + 0.001, priority=Priority.REST)[1] == 0


def test_history_is_asked_one_at_a_time_while_a_session_is_open() -> None:
    for begin, waits in ((OPEN + 600, True), (NIGHT, False)):
        account, _ = ask(Account(), begin, priority=Priority.REST)
        assert (ask(account, begin + 5, place="two", priority=Priority.EXPIRING)[1] > 0) == waits


def test_history_waits_in_vain_where_the_live_minute_takes_everything() -> None:
    limits = replace(LIMITS, a_minute=101)
    assert ask(Account(), OPEN + 600, priority=Priority.REST, limits=limits)[1] == float("inf")
    assert ask(Account(), NIGHT, priority=Priority.REST, limits=limits)[1] == 0


def test_what_is_less_urgent_waits_while_something_more_urgent_waits() -> None:
    limits = replace(LIMITS, in_flight=1)
    account, _ = ask(Account(), NIGHT, limits=limits)
    account, wait = ask(account, NIGHT, place="expiring", priority=Priority.EXPIRING, limits=limits)
    assert wait > 0
    account = budget.answered(account, "one", NIGHT, believed=True)
    account, wait = ask(account, NIGHT + 0.1, place="rest", priority=Priority.REST, limits=limits)
    assert wait > 0
    assert ask(account, NIGHT + 0.1, place="expiring", priority=Priority.EXPIRING, limits=limits)[1] == 0
    account = budget.given_up(account, "expiring", NIGHT + 0.2)
    assert ask(account, NIGHT + 0.2, place="rest", priority=Priority.REST, limits=limits)[1] == 0


def test_a_place_that_nobody_gives_back_is_free_after_the_time_out() -> None:
    limits = replace(LIMITS, in_flight=1)
    account, _ = ask(Account(), NIGHT, limits=limits)
    assert ask(account, NIGHT + 9.9, place="two", limits=limits)[1] > 0
    assert ask(account, NIGHT + 10.1, place="two", limits=limits)[1] == 0


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        (SESSION.open, SESSION.open + MINUTE, Priority.LIVE),
        (SESSION.open, SESSION.open + timedelta(minutes=6), Priority.LIVE),
        (SESSION.open, SESSION.open + timedelta(minutes=7), Priority.REST),
        (SESSION.last_minute, SESSION.close + timedelta(days=20), Priority.REST),
        (SESSION.last_minute, SESSION.open + timedelta(days=25), Priority.EXPIRING),
        (SESSION.last_minute, SESSION.open + timedelta(days=30), Priority.REST),
    ],
)
def test_live_minutes_go_before_those_that_yahoo_soon_forgets_and_these_before_the_rest(
    last: datetime, now: datetime, expected: Priority
) -> None:
    assert priority(SESSION, last, now) == expected


def test_room_is_kept_for_live_minutes_from_the_opening_until_the_last_one_has_had_its_time() -> None:
    assert not live_minutes_come(SESSION.open - MINUTE)
    assert live_minutes_come(SESSION.open)
    assert live_minutes_come(SESSION.close + timedelta(minutes=5))
    assert not live_minutes_come(SESSION.close + timedelta(minutes=6))


def test_after_a_refusal_nobody_sends_until_it_may_be_asked_again_and_then_one_alone() -> None:
    account = refused(NIGHT, retry_after=60)
    assert account.pause() == "Yahoo refused at 2026-11-20 03:30:00, asked again from 2026-11-20 03:31:00 New York"
    assert ask(account, NIGHT + 59.9)[1] == float("inf")
    account, wait = ask(account, NIGHT + 60, place="probe")
    assert wait == 0
    assert ask(account, NIGHT + 60, place="two")[1] > 0
    account = budget.answered(account, "probe", NIGHT + 61, believed=True)
    assert not account.open
    assert ask(account, NIGHT + 61, place="two")[1] == 0


def test_a_probe_without_an_answer_is_followed_by_another() -> None:
    account, _ = ask(refused(NIGHT), NIGHT + 60, place="probe")
    failed = budget.answered(account, "probe", NIGHT + 61, believed=False)
    assert failed.open
    assert ask(failed, NIGHT + 61, place="two")[1] == 0
    assert ask(account, NIGHT + 69, place="two")[1] > 0
    assert ask(account, NIGHT + 71, place="two")[1] == 0


def test_an_answer_to_what_was_asked_before_the_refusal_does_not_end_the_pause() -> None:
    account, _ = ask(Account(), NIGHT, place="slow")
    account = budget.answered(refused(NIGHT + 1, account=account), "slow", NIGHT + 2, believed=True)
    assert account.open


def test_requests_that_were_under_way_when_one_was_refused_do_not_make_the_pause_longer() -> None:
    account = Account()
    for place in "abcdefgh":
        account, _ = ask(account, NIGHT, place=place)
    first = account = budget.refused(account, "a", NIGHT, NIGHT + 1, None, seed=7)
    for place in "bcdefgh":
        account = budget.refused(account, place, NIGHT, NIGHT + 1.1, None, seed=7)
    assert (account.refusals, account.ask_from) == (1, first.ask_from)
    account = budget.refused(account, "late", NIGHT, NIGHT + 2, 120.0, seed=7)
    assert (account.refusals, account.ask_from) == (1, NIGHT + 122)


def test_each_refusal_in_a_row_may_double_the_pause_and_full_recovery_forgets_them() -> None:
    account, now = Account(), NIGHT
    longest = []
    for _ in range(9):
        account = refused(now, None, account)
        longest.append(min(1800.0, 30 * 2.0 ** (account.refusals - 1)))
        assert 0 <= account.ask_from - now <= longest[-1]
        now = account.ask_from + 60
    assert longest == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    account = budget.answered(ask(account, now)[0], "one", now, believed=True)
    assert refused(now + 599, None, account).refusals == 10
    assert refused(now + 601, None, account).refusals == 1


def test_the_pause_is_drawn_anew_at_each_refusal_and_the_same_from_the_same_seed() -> None:
    def drawn(seed: int, now: float) -> float:
        return budget.refused(Account(), "one", now, now, None, seed).ask_from - now

    pauses = [drawn(7, NIGHT + second) for second in range(200)]
    assert drawn(7, NIGHT) == pauses[0]
    assert drawn(8, NIGHT) != pauses[0]
    assert min(pauses) < 3
    assert max(pauses) > 27


@pytest.mark.parametrize(("asks_for", "pause"), [(7.0, 7), (0.0, 1), (-5.0, 1), (1e9, 3600)])
def test_what_an_answer_asks_for_is_obeyed_within_bounds(asks_for: float, pause: float) -> None:
    assert refused(NIGHT, asks_for).ask_from == NIGHT + pause


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("Fri, 20 Nov 2026 08:31:00 GMT", 60),
        ("Fri, 20 Nov 2026 08:29:00 GMT", -60),
        ("soon", None),
        ("", None),
        ("-1", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert datetime.fromtimestamp(NIGHT, UTC) == datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    assert budget.seconds_of(header, NIGHT) == seconds


def test_after_a_refusal_rate_and_tickers_recover_by_steps_and_each_ticker_gets_its_turn() -> None:
    tickers = tuple(f"T{number:03}" for number in range(101))
    account = budget.answered(ask(refused(NIGHT), NIGHT + 60)[0], "one", NIGHT + 60, believed=True)
    begin = NIGHT + 60
    asked: list[tuple[str, ...]] = []
    for minute in range(12):
        account, chosen = budget.turns(account, tickers, begin + 60 * minute)
        asked.append(chosen)
    assert [len(chosen) for chosen in asked] == [26] * 5 + [51] * 5 + [101] * 2
    assert {ticker for chosen in asked[:4] for ticker in chosen} == set(tickers)
    assert {ticker for chosen in asked[5:7] for ticker in chosen} == set(tickers)
    assert "25% of the tickers" in account.turn(begin)
    assert account.turns == {}


def test_a_quarter_of_the_rate_is_for_a_quarter_of_the_live_minute_and_a_quarter_of_history() -> None:
    account = budget.answered(ask(refused(OPEN), OPEN + 60)[0], "one", OPEN + 60, believed=True)
    now = OPEN + 130
    account, wait = ask(account, now, priority=Priority.REST)
    assert wait == 0
    account = budget.answered(account, "one", now, believed=True)
    assert ask(account, now, priority=Priority.REST)[1] == pytest.approx(60 / (37 - 26))
    places = 0
    while ask(account, now)[1] == 0:
        account = budget.answered(ask(account, now)[0], "one", now, believed=True)
        places += 1
    assert places == 37 - 1
