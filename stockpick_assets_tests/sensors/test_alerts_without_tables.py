"""The alerts' sensor while its tables are away: what is told, kept and written later."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deltalake import write_deltalake

from stockpick_assets.core.alerts import Parcel, alerts_from
from stockpick_assets.core.schemas import ALERTS
from stockpick_assets.resources.notifier import Notifier
from stockpick_assets.sensors.alerts import MOST_HELD, Watch
from stockpick_assets.store import Store
from stockpick_assets_tests.picks import minute
from stockpick_assets_tests.sensors.flows import at
from stockpick_assets_tests.sensors.ticking import SECOND, Ticking, best, statuses, titles
from stockpick_assets_tests.webhook import Webhook


def gone(store: Store) -> None:
    """Take the store away: the logs of its tables are no logs."""
    for name in ("picks", "alerts"):
        log = Path(store.uri(name)) / "_delta_log"
        log.rename(log.with_name("log"))
        log.mkdir()
        (log / f"{0:020}.json").write_text("no log", encoding="utf-8")


def back(store: Store) -> None:
    """Bring it back as it was."""
    for name in ("picks", "alerts"):
        log = Path(store.uri(name)) / "_delta_log"
        shutil.rmtree(log)
        log.with_name("log").rename(log)


def test_a_store_that_is_away_is_told_at_once_and_written_when_it_is_back(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url, rules=("store", "new_best"))
    best(store, 0, "NVDA")
    ticking.tick(minute(1))
    gone(store)
    ticking.ticks(minute(1) + SECOND, minute(9), 10 * SECOND)
    assert "; 1 alerts wait to be written: could not " in ticking.tick(minute(9) + 5 * SECOND)
    assert titles(webhook)[1:] == ["The tables have not been read or written for 30 s"]
    back(store)
    best(store, 9, "AMD")
    assert ticking.tick(minute(10)) == "Judged picks up to 2026-11-20 09:39 New York: 1 new alerts (sent: 1)."
    assert statuses(store) == [("NVDA", "sent"), (None, "sent"), ("AMD", "sent")]
    assert len(webhook.received) == 3


def test_a_table_of_an_earlier_stockpick_is_told_with_what_to_do_and_the_sensor_goes_on(
    store: Store, webhook: Webhook
) -> None:
    best(store, 0, "NVDA")
    earlier = ALERTS.without("accepted", "due_at", "matters_until").empty()
    write_deltalake(store.uri("alerts"), earlier, partition_by=["session"])
    ticking = Ticking(store, webhook.url, rules=("store", "new_best"))
    ticking.ticks(minute(1), minute(2), 10 * SECOND)
    assert titles(webhook) == [
        "NVDA is the new best pick of 2026-11-20 09:30 New York",
        "The tables have not been read or written for 30 s",
    ]
    assert "was written by an earlier stockpick and lacks the column" in webhook.received[1]["message"]


class LosesTheStore(Notifier):
    """Delivers, and takes the store away before that can be marked."""

    def __init__(self, urls: str, store: Store) -> None:
        super().__init__(urls)
        self._store = store

    def deliver(self, texts: Mapping[str, Sequence[Parcel]]) -> dict[str, list[bool]]:
        """As a notifier."""
        taken = super().deliver(texts)
        if texts:
            gone(self._store)
        return taken


def test_an_alert_that_was_sent_but_could_not_be_marked_is_not_sent_again(store: Store, webhook: Webhook) -> None:
    ticking = Ticking(store, webhook.url)
    best(store, 0, "NVDA")
    ticking.notifier = LosesTheStore(webhook.url, store)
    ticking.tick(minute(1))
    ticking.tick(minute(1) + 20 * SECOND)
    back(store)
    ticking.tick(minute(1) + 40 * SECOND)
    assert statuses(store) == [("NVDA", "sent")]
    assert len(webhook.received) == 1


def test_what_is_kept_while_the_store_is_away_is_bounded_and_the_newest(store: Store, webhook: Webhook) -> None:
    best(store, 0, "NVDA")
    ticking = Ticking(store, webhook.url, rules=("broker", "new_best"))
    ticking.tick(minute(1))
    [alert] = alerts_from(store.read("alerts"))
    ticking.remembers(minute(1), held=tuple(replace(alert, id=f"{alert.id}/{number}") for number in range(MOST_HELD)))
    gone(store)
    ticking.position.fails = "no broker"
    ticking.ticks(minute(2), minute(3), 15 * SECOND)
    held = Watch.resumed(ticking.cursor, minute(3), at(minute(3)).wall()).held
    assert (len(held), held[0].id, held[-1].rule) == (MOST_HELD, f"{alert.id}/1", "broker")
