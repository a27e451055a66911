"""What becomes of an alert, and how several that are due at one time are told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stockpick_assets.core.alerts import (
    BACK_OFF,
    LINES_OF_A_DIGEST,
    MOST_ATTEMPTS,
    MOST_TEXTS,
    SINGLY,
    Alert,
    Delivery,
    Status,
    alerts_from,
    alerts_table,
    allowed,
    expired,
    parcels,
    raised,
    settled,
)
from stockpick_assets.core.links import Links
from stockpick_assets.core.observations import FailedRun, of_picks, of_run
from stockpick_assets.core.rules import RULES, Judged
from stockpick_assets.core.schemas import ALERTS
from stockpick_assets_tests.picks import minute, pick, table
from stockpick_assets_tests.rows import SESSION

LINKS = Links("http://127.0.0.1:8501", "http://127.0.0.1:3000", "simulated")
WALL = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
JSON, SLACK = "channel 1 (JSON)", "channel 2 (Slack)"
BOTH = (JSON, SLACK)
NEW_BEST = next(rule for rule in RULES if rule.name == "new_best")


def alert(ticker: str = "NVDA", p_profit: float = 0.59, suppressed: str | None = None) -> Alert:
    seen = next(iter(of_picks(table([pick(minute(0), ticker, 1, p_profit=p_profit)]), minute(-1))))
    return raised(Judged(NEW_BEST, seen, suppressed), LINKS, WALL)


def test_the_same_pick_makes_the_same_id_which_is_the_messages_with_the_rule() -> None:
    assert alert().id == alert(p_profit=0.9).id == "simulated/2026-11-20T14:30:00Z/NVDA/new_best"
    assert (alert().ticker, alert().session) == ("NVDA", SESSION.date)


def test_an_alert_of_the_platform_has_no_ticker_and_a_run_its_own_id() -> None:
    rule = next(rule for rule in RULES if rule.name == "failed_run")
    run = FailedRun("1a2b3c4d-0000-4000-8000-000000000000", "live", None, "boom", minute(0))
    made = raised(Judged(rule, of_run(run)), LINKS, WALL)
    assert (made.ticker, made.id) == (None, "simulated/2026-11-20T14:30:00Z/live/failed_run/1a2b3c4d")


def test_a_suppressed_alert_is_kept_with_its_reason() -> None:
    made = alert(suppressed="within 15 min of another")
    assert (made.status, made.detail) == (Status.SUPPRESSED, "within 15 min of another")


def test_an_alert_that_every_channel_took_is_sent() -> None:
    done = settled(alert(), Delivery(BOTH), BOTH, WALL)
    assert (done.status, done.attempts, done.sent_at) == (Status.SENT, 1, WALL)
    assert done.detail == "accepted by channel 1 (JSON), channel 2 (Slack)"


def test_a_channel_that_refused_is_tried_again_alone() -> None:
    tried = settled(alert(), Delivery((JSON,), (SLACK,)), BOTH, WALL)
    assert (tried.status, tried.due_at) == (Status.PENDING, WALL + BACK_OFF[0])
    assert tried.detail == "accepted by channel 1 (JSON); refused by channel 2 (Slack) at attempt 1"
    assert parcels([tried], JSON, LINKS) == []
    assert [parcel.ids for parcel in parcels([tried], SLACK, LINKS)] == [(tried.id,)]
    done = settled(tried, Delivery((SLACK,)), BOTH, WALL + BACK_OFF[0])
    assert (done.status, done.sent_at) == (Status.SENT, WALL)


def test_an_alert_that_no_channel_takes_is_tried_later_each_time_and_then_has_failed() -> None:
    tried, waits = alert(), []
    for _ in range(MOST_ATTEMPTS):
        tried = settled(tried, Delivery((), (JSON,)), (JSON,), WALL)
        waits.append(tried.due_at and tried.due_at - WALL)
    assert waits == [*BACK_OFF, None]
    assert (tried.status, tried.sent_at) == (Status.FAILED, None)
    assert tried.detail == f"refused by channel 1 (JSON) at attempt {MOST_ATTEMPTS}"


def test_a_channel_that_keeps_refusing_is_given_up_where_another_took_it() -> None:
    tried = settled(alert(), Delivery((JSON,), (SLACK,)), BOTH, WALL)
    for _ in range(MOST_ATTEMPTS - 1):
        tried = settled(tried, Delivery((), (SLACK,)), BOTH, WALL)
    assert (tried.status, tried.due_at) == (Status.SENT, None)
    assert tried.detail == f"accepted by channel 1 (JSON); refused by channel 2 (Slack) at attempt {MOST_ATTEMPTS}"


def test_an_alert_that_the_limit_kept_back_stays_as_it_is() -> None:
    assert settled(alert(), Delivery(), (JSON,), WALL) == alert()


def test_without_a_channel_an_alert_is_suppressed_and_says_what_to_set() -> None:
    done = settled(alert(), Delivery(), (), WALL)
    assert (done.status, done.attempts) == (Status.SUPPRESSED, 0)
    assert done.detail == "no channel is configured: set STOCKPICK_ALERT_URLS"


def test_an_alert_matters_until_its_forecast_is_over() -> None:
    assert expired(alert(), minute(6)) is None
    refused = settled(alert(), Delivery((), (JSON,)), (JSON,), WALL)
    done = expired(refused, minute(6) + timedelta(seconds=1))
    assert done is not None
    assert done.status == Status.EXPIRED
    assert done.detail == (
        "too late to matter after 2026-11-20 09:36 New York; refused by channel 1 (JSON) at attempt 1"
    )


def test_an_alert_that_one_channel_took_in_time_was_sent() -> None:
    done = expired(settled(alert(), Delivery((JSON,), (SLACK,)), BOTH, WALL), minute(9))
    assert done is not None
    assert (done.status, done.sent_at) == (Status.SENT, WALL)


def test_a_few_alerts_are_a_text_each_and_many_are_one_for_all() -> None:
    many = [alert(f"T{place}") for place in range(SINGLY + 1)]
    assert [parcel.title for parcel in parcels(many[:SINGLY], JSON, LINKS)] == [one.title for one in many[:SINGLY]]
    [digest] = parcels(many, JSON, LINKS)
    assert digest.title == "SIMULATED: 4 alerts"
    assert digest.body.splitlines() == [
        *(f"- T{place} is the new best pick of 2026-11-20 09:30 New York" for place in range(SINGLY + 1)),
        "http://127.0.0.1:8501/alerts",
    ]
    assert digest.ids == tuple(one.id for one in many)


def test_a_digest_of_any_number_fits_into_a_chat_and_says_how_many_it_does_not_name() -> None:
    [digest] = parcels([replace(alert(), text="x" * 10_000)] * 500, JSON, LINKS)
    assert len(digest.title) + len(digest.body) < 2000
    assert f"and {500 - LINES_OF_A_DIGEST} more" in digest.body


def test_an_alert_in_a_digest_says_so() -> None:
    done = settled(alert(), Delivery((JSON,), digest=12), (JSON,), WALL)
    assert done.detail == "accepted by channel 1 (JSON), in a digest of 12"


def test_a_channel_is_given_so_many_texts_a_minute() -> None:
    sent = {JSON: [WALL - timedelta(seconds=70), *[WALL - timedelta(seconds=50)] * MOST_TEXTS]}
    assert allowed(sent, JSON, WALL) == 0
    assert allowed(sent, JSON, WALL + timedelta(seconds=10)) == MOST_TEXTS
    assert allowed(sent, SLACK, WALL) == MOST_TEXTS


def test_an_alert_comes_back_from_its_table_as_it_was() -> None:
    kept = [alert(), settled(alert(), Delivery((JSON,), (SLACK,)), BOTH, WALL)]
    assert alerts_table(kept).schema == ALERTS.columns
    assert alerts_from(alerts_table(kept)) == kept
