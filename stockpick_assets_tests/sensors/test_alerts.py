"""The alerts' sensor, with a webhook on this machine at the other end of a real Apprise."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from stockpick_assets.core.alerts import BACK_OFF, MOST_ATTEMPTS, MOST_TEXTS, Status, alerts_from
from stockpick_assets.core.clock import MarketClock
from stockpick_assets.core.market_hours import MINUTE
from stockpick_assets.core.rules import RULES
from stockpick_assets.core.schemas import RAW_PRICES
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.resources.now import Now
from stockpick_assets.sensors.alerts import Watch, alerts_sensor
from stockpick_assets.store import Store
from stockpick_assets_tests.core.test_alert_texts import HOSTILE
from stockpick_assets_tests.picks import TICKERS, minute, pick, table
from stockpick_assets_tests.rows import SESSION
from stockpick_assets_tests.sensors.flows import FLOW, at, tables
from stockpick_assets_tests.sensors.ticking import SECOND, FakePosition, Ticking, best, statuses, titles
from stockpick_assets_tests.webhook import SECRET, Webhook, listening


def test_a_new_best_pick_arrives_once_as_plain_text(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    best(store, 0, "NVDA")
    assert ticking.tick(minute(1)) == "Judged picks up to 2026-11-20 09:30 New York: 1 new alerts (sent: 1)."
    assert ticking.tick(minute(2)) == "Judged picks up to 2026-11-20 09:30 New York: 0 new alerts."
    [received] = webhook.received
    assert received["title"] == "SIMULATED: NVDA is the new best pick of 2026-11-20 09:30 New York"
    assert "Ranked first of 3 tickers." in received["message"]
    assert "http://127.0.0.1:8501/ticker?ticker=NVDA&minute=2026-11-20T09%3A30" in received["message"]
    [alert] = alerts_from(store.read("alerts"))
    assert (alert.status, alert.attempts, alert.detail) == (Status.SENT, 1, "accepted by channel 1 (JSON)")
    assert alert.sent_at == at(minute(1)).wall()


def test_the_sensor_says_what_a_tick_did_and_keeps_its_cursor(store: Store, webhook: Webhook) -> None:
    best(store, 0, "NVDA")
    resources = {
        "tables": tables(Path(store.root)),
        "now": at(minute(1)),
        "notifier": Notifier(webhook.url),
        "relay_position": FakePosition(minute(1)),
    }
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, resources=resources) as context,
    ):
        said = alerts_sensor(FLOW, RULES).evaluate_tick(context)
    assert said.skip_message == "Judged picks up to 2026-11-20 09:30 New York: 2 new alerts (sent: 2)."
    watch = Watch.resumed(said.cursor, minute(1), at(minute(1)).wall())
    assert (watch.judged, set(watch.memory)) == (minute(0), {"new_best NVDA", "quality all"})


def test_the_same_best_pick_is_not_sent_again_in_the_next_minute(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    for index, ticker in enumerate(["NVDA", "NVDA", "AMD"]):
        best(store, index, ticker)
        ticking.tick(minute(index + 1))
    assert [title.split()[0] for title in titles(webhook)] == ["NVDA", "AMD"]


def test_an_alert_within_the_cooldown_is_a_row_that_says_why_and_goes_nowhere(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    for index, ticker in enumerate(["NVDA", "AMD", "NVDA"]):
        best(store, index, ticker)
        said = ticking.tick(minute(index + 1))
    assert said.endswith("0 new alerts, 1 suppressed.")
    assert statuses(store) == [("NVDA", "sent"), ("AMD", "sent"), ("NVDA", "suppressed")]
    assert len(webhook.received) == 2


@pytest.mark.parametrize("cursor", [None, "2026-11-20T14:31:00+00:00"])
def test_a_sensor_that_lost_its_cursor_does_not_repeat_an_alert(
    store: Store, webhook: Webhook, cursor: str | None
) -> None:
    best(store, 0, "AMD")
    best(store, 1, "NVDA")
    Ticking(store, webhook.url).tick(minute(2))
    again = Ticking(store, webhook.url)
    again.cursor = cursor
    again.tick(minute(2))
    assert statuses(store) == [("AMD", "sent"), ("NVDA", "sent")]
    assert len(webhook.received) == 2


def test_an_alert_that_was_written_but_not_delivered_is_delivered_once_its_time_has_come(
    store: Store, webhook: Webhook
) -> None:
    best(store, 0, "NVDA")
    with listening() as server:
        url = server.url
    ticking = Ticking(store, url)
    assert ticking.tick(minute(1)).endswith("1 new alerts (pending: 1).")
    restarted = Ticking(store, webhook.url)
    restarted.cursor = ticking.cursor
    assert restarted.tick(minute(1) + BACK_OFF[0] - SECOND).endswith("0 new alerts.")
    assert restarted.tick(minute(1) + BACK_OFF[0]).endswith("0 new alerts (sent: 1).")
    [alert] = alerts_from(store.read("alerts"))
    assert (alert.attempts, len(webhook.received)) == (2, 1)


def test_a_channel_that_keeps_refusing_is_given_up(store: Store, webhook: Webhook) -> None:
    webhook.status = 500
    best(store, 0, "NVDA")
    Ticking(store, webhook.url).ticks(minute(1), minute(6), 5 * SECOND)
    [alert] = alerts_from(store.read("alerts"))
    assert (alert.status, alert.attempts) == (Status.FAILED, MOST_ATTEMPTS)
    assert alert.detail == f"refused by channel 1 (JSON) at attempt {MOST_ATTEMPTS}"


def test_of_two_channels_only_the_one_that_refused_is_tried_again(store: Store, webhook: Webhook) -> None:
    best(store, 0, "NVDA")
    with listening() as other:
        other.status = 500
        ticking = Ticking(store, other.url, webhook.url)
        ticking.tick(minute(1))
        other.status = 200
        ticking.tick(minute(1) + BACK_OFF[0])
        assert (len(webhook.received), len(other.received)) == (1, 1)
    [alert] = alerts_from(store.read("alerts"))
    assert alert.detail == "accepted by channel 2 (JSON), channel 1 (JSON)"


def test_without_a_channel_alerts_are_recorded_all_the_same(store: Store) -> None:
    best(store, 0, "NVDA")
    assert Ticking(store).tick(minute(1)).endswith("1 new alerts (suppressed: 1).")
    [alert] = alerts_from(store.read("alerts"))
    assert alert.detail == "no channel is configured: set STOCKPICK_ALERT_URLS"


def test_after_an_outage_what_is_over_expires_and_what_matters_is_sent(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    best(store, 0, "AAPL")
    ticking.tick(minute(1))
    for index, ticker in enumerate(["NVDA", "AMD", "NVDA"], start=1):
        best(store, index * 10, ticker)
    ticking.tick(minute(31))
    assert statuses(store) == [("AAPL", "sent"), ("NVDA", "expired"), ("AMD", "expired"), ("NVDA", "sent")]


def test_backfilled_minutes_are_not_alerts_of_a_sensor_that_starts(store: Store, webhook: Webhook) -> None:
    for index, ticker in enumerate(["NVDA", "AMD"] * 10):
        best(store, index, ticker)
    Ticking(store, webhook.url).tick(minute(60))
    assert webhook.received == []
    assert not store.exists("alerts")


def test_many_alerts_of_one_tick_are_one_text(store: Store, webhook: Webhook) -> None:
    rows = [pick(minute(0), f"T{place}", place + 1, p_profit=0.7) for place in range(20)]
    store.append("picks", table(rows), {})
    ticking = Ticking(store, webhook.url, rules=("new_best", "likely"))
    assert ticking.tick(minute(1)).endswith("21 new alerts (sent: 21).")
    [received] = webhook.received
    assert received["title"] == "SIMULATED: 21 alerts"
    assert "and 9 more" in received["message"]
    details = {alert.detail for alert in alerts_from(store.read("alerts"))}
    assert details == {"accepted by channel 1 (JSON), in a digest of 21"}


def test_a_channel_that_has_had_its_texts_of_the_minute_gets_the_next_one_after_it(
    store: Store, webhook: Webhook
) -> None:
    ticking = Ticking(store, webhook.url)
    ticking.remembers(minute(1), sent={"channel 1 (JSON)": (at(minute(1)).wall(),) * MOST_TEXTS})
    best(store, 0, "NVDA")
    assert ticking.tick(minute(2) - SECOND).endswith("1 new alerts.")
    assert ticking.tick(minute(2)).endswith("0 new alerts (sent: 1).")
    assert len(webhook.received) == 1


def test_a_minute_that_comes_late_is_judged_when_it_comes(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    best(store, 0, "NVDA")
    ticking.tick(minute(1))
    ticking.tick(minute(2) + 5 * SECOND)
    best(store, 1, "AMD")
    ticking.tick(minute(2) + 15 * SECOND)
    assert [title.split()[0] for title in titles(webhook)] == ["NVDA", "AMD"]


def test_without_any_picks_the_sensor_waits(store: Store) -> None:
    assert Ticking(store).tick(minute(1)) == "Judged picks up to 2026-11-20 09:24 New York: 0 new alerts."


def test_a_replay_that_begins_again_is_judged_again_from_its_beginning(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    best(store, 100, "NVDA")
    ticking.tick(minute(101))
    best(store, 0, "NVDA")
    ticking.tick(minute(1))
    assert len(webhook.received) == 2


def test_a_minute_of_which_most_tickers_have_no_bar_is_an_alert(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url, rules=("quality",))
    best(store, 0, "NVDA")
    row = {"session": SESSION.date, "minute": minute(0), "source": "simulated", "reason": "rate_limited"}
    rows = [{**row, "ticker": ticker, "fetched_at": minute(1)} for ticker in TICKERS]
    store.append("raw_prices", pa.Table.from_pylist(rows, schema=RAW_PRICES.columns), {})
    ticking.tick(minute(1))
    assert titles(webhook) == ["0 of 3 listed tickers have a bar of 2026-11-20 09:30 New York"]
    assert "(3 rate_limited)" in webhook.received[0]["message"]


def test_nothing_published_in_market_hours_is_an_alert_once(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url, rules=("silent",))
    ticking.position.at = minute(1)
    ticking.ticks(minute(1), minute(15), 20 * SECOND)
    assert titles(webhook) == ["No message has been published for 3 market minutes"]
    ticking.position.at = minute(15)
    ticking.ticks(minute(16), minute(17), 20 * SECOND)
    assert len(webhook.received) == 1


def test_a_platform_that_was_stopped_gets_time_to_publish_before_it_is_called_silent(
    store: Store, webhook: Webhook
) -> None:
    ticking = Ticking(store, webhook.url, rules=("silent",))
    ticking.position.at = minute(1)
    ticking.tick(minute(1))
    ticking.ticks(minute(100), minute(102), 20 * SECOND)
    assert webhook.received == []
    ticking.ticks(minute(102), minute(104), 20 * SECOND)
    assert len(webhook.received) == 1


def test_a_broker_that_is_away_for_half_a_minute_is_an_alert_and_not_a_silence_as_well(
    store: Store, webhook: Webhook
) -> None:
    ticking = Ticking(store, webhook.url, rules=("broker", "silent"))
    ticking.position.at = minute(1)
    ticking.position.fails = "Kafka at 127.0.0.1:9 did not answer"
    ticking.ticks(minute(1), minute(1) + 20 * SECOND, 5 * SECOND)
    assert webhook.received == []
    assert "Kafka is not reached since 09:01:00 UTC." in ticking.tick(minute(1) + 25 * SECOND)
    ticking.ticks(minute(1) + 30 * SECOND, minute(10), 5 * SECOND)
    assert titles(webhook) == ["Kafka has not been reached for 30 s"]
    assert "Kafka at 127.0.0.1:9 did not answer." in webhook.received[0]["message"]


def test_a_broker_that_is_away_again_within_the_cooldown_is_an_alert_when_that_is_over(
    store: Store, webhook: Webhook
) -> None:
    ticking = Ticking(store, webhook.url, rules=("broker",))
    for away, back in ((1, 3), (10, 35)):
        ticking.position.fails = "did not answer"
        ticking.ticks(minute(away), minute(back), 15 * SECOND)
        ticking.position.fails = ""
        ticking.tick(minute(back) + 15 * SECOND)
    assert titles(webhook) == ["Kafka has not been reached for 30 s", "Kafka has not been reached for 1290 s"]
    assert sorted(status for _, status in statuses(store)) == ["sent", "sent", "suppressed"]


def test_the_broker_is_asked_four_times_a_minute_however_often_the_sensor_ticks(store: Store) -> None:
    ticking = Ticking(store, rules=("broker",))
    ticking.ticks(minute(1), minute(2) - SECOND, SECOND)
    assert ticking.position.asked == 4


def test_a_tick_that_died_before_its_cursor_was_kept_is_done_again_without_repeating_an_alert(
    store: Store, webhook: Webhook
) -> None:
    ticking = Ticking(store, webhook.url)
    ticking.tick(minute(1))
    before = ticking.cursor
    best(store, 0, "NVDA")
    ticking.tick(minute(1) + 5 * SECOND)
    ticking.cursor = before
    assert ticking.tick(minute(1) + 10 * SECOND).endswith("0 new alerts.")
    assert len(webhook.received) == 1


@dg.op
def fetch() -> None:
    raise ValueError("no rows\nand a second line")


@dg.job
def live() -> None:
    fetch()


def test_a_failed_run_is_an_alert_with_its_step_and_error_and_a_link(store: Store, webhook: Webhook) -> None:
    now = Now(MarketClock(datetime.now(UTC), SESSION.open, 1.0))
    ticking = Ticking(store, webhook.url, rules=("failed_run",))
    ticking.tick(now)
    failed = [live.execute_in_process(instance=ticking.instance, raise_on_error=False).run_id for _ in range(2)]
    ticking.tick(now)
    ticking.tick(now)
    [received] = webhook.received
    assert received["title"] == f"SIMULATED: Run {failed[0][:8]} of live failed"
    assert received["message"].splitlines() == [
        "Step fetch: ValueError: no rows",
        "Another failure of this job is an alert after 10 minutes.",
        f"http://127.0.0.1:3000/runs/{failed[0]}",
    ]
    assert sorted(status for _, status in statuses(store)) == ["sent", "suppressed"]


def test_a_run_that_failed_days_ago_is_no_alert_any_more_and_says_so(store: Store, webhook: Webhook) -> None:
    best(store, 0, "NVDA")
    clock = MarketClock(datetime.now(UTC), SESSION.open + MINUTE, 1.0)
    ticking = Ticking(store, webhook.url, rules=("failed_run",))
    ticking.tick(Now(clock))
    live.execute_in_process(instance=ticking.instance, raise_on_error=False)
    ticking.tick(Now(clock, lambda: datetime.now(UTC) + timedelta(days=2)))
    assert webhook.received == []
    assert statuses(store) == [(None, "expired")]


def test_hostile_text_arrives_as_text_of_bounded_length(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url, rules=("new_best", "broker"))
    rows = [pick(minute(0), HOSTILE, 1, abstain=HOSTILE), pick(minute(0), "TSLA", 2)]
    store.append("picks", table(rows), {})
    ticking.position.fails = HOSTILE
    ticking.tick(minute(1))
    ticking.tick(minute(1) + 30 * SECOND)
    assert len(webhook.received) == 2
    for received in webhook.received:
        text = received["title"] + received["message"]
        assert received["title"].startswith("SIMULATED: ")
        assert len(text) < 1200
        assert text.replace("\n", "").isprintable()
        assert "{{x}} {0} %s" in text
        assert "@" not in text


def test_an_address_is_neither_logged_nor_kept(
    store: Store, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.status = 403
    best(store, 0, "NVDA")
    ticking = Ticking(store, webhook.url, f"nonsense://{SECRET}")
    said = ticking.tick(minute(1))
    kept = str(store.read("alerts").to_pylist()) + (ticking.cursor or "")
    assert "refused by channel 1 (JSON), channel 2" in kept
    assert SECRET not in said + kept
    assert SECRET not in caplog.text
