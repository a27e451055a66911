"""Each rule on the bad bars it is for, and on moves and volumes that are unusual and true."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stockpick_assets.core.bars import PRICES, Bars
from stockpick_assets.core.quarantine import (
    CONFIRMED,
    JUMP_CEILING,
    OPENING_FACTOR,
    RULES,
    SESSION_VOLUME_LIMIT,
    STALE_BARS,
    ZEROS_WITHIN,
    broken,
)

MINUTES = np.datetime64("2026-11-20T14:30", "us") + np.arange(390) * np.timedelta64(1, "m")


def quiet(count: int = 30, seed: int = 7, **about: object) -> Bars:
    """A ticker at 100 whose minutes are 0.1 % wide, with 1,000 to 3,000 shares each."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 3e-4, count)))
    opening = np.append(100.0, close[:-1])
    high, low = np.maximum(opening, close) * 1.0003, np.minimum(opening, close) * 0.9997
    volume = random.integers(1000, 3000, count).astype(float)
    return Bars(MINUTES[:count], opening, high, low, close, volume, silent=MINUTES[:0], **about)  # pyright: ignore[reportArgumentType]


def scaled(bars: Bars, rows: slice | int, factor: float, names: tuple[str, ...] = PRICES) -> Bars:
    """The bars with some prices of some rows multiplied."""
    factors = np.ones(len(bars))
    factors[rows] = factor
    return replace(bars, **{name: getattr(bars, name) * factors for name in names})


def with_volume(bars: Bars, volume: NDArray[np.floating] | list[float]) -> Bars:
    return replace(bars, volume=np.array(volume, dtype=float))


def prices(bars: Bars) -> dict[str, list[int]]:
    """The rows that are quarantined, by rule."""
    return found(broken(bars)[0])


def volumes(bars: Bars) -> dict[str, list[int]]:
    """The rows whose volume is withheld, by rule."""
    return found(broken(bars)[1])


def found(names: NDArray[np.object_]) -> dict[str, list[int]]:
    return {name: np.flatnonzero(names == name).tolist() for name in dict.fromkeys(names) if name}


def test_the_bars_of_a_quiet_session_break_no_rule() -> None:
    bars = quiet(390)
    assert not prices(replace(bars, day_volume=bars.volume.sum() / 0.9, previous_close=98.0))
    assert not volumes(replace(bars, day_volume=bars.volume.sum() / 0.9))


def test_every_rule_has_a_name_of_its_own_and_a_sentence() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.description.endswith(".") for rule in RULES)


@pytest.mark.parametrize(
    ("name", "value"),
    [("close", np.nan), ("low", 0.0), ("low", -1.0), ("high", np.inf), ("high", 99.0), ("low", 101.0), ("open", 101.0)],
)
def test_an_impossible_price_is_its_own_bars_fault_alone(name: str, value: float) -> None:
    bars = quiet()
    column = getattr(bars, name).copy()
    column[10] = value
    assert prices(replace(bars, **{name: column})) == {"impossible price": [10]}


def test_two_bars_of_a_minute_that_differ_are_both_doubted() -> None:
    bars = quiet(5).take(np.array([0, 1, 1, 2, 3]))
    changed = bars.volume.copy()
    changed[2] += 1
    assert prices(replace(bars, volume=changed).ordered()) == {"different bars": [1, 2]}
    assert not prices(bars.ordered())


@pytest.mark.parametrize("factor", [100.0, 10.0, 1.5, 1.06, 0.94, 0.5, 0.01])
@pytest.mark.parametrize("rows", [slice(12, 13), slice(12, 14), slice(0, 1)], ids=["one", "two", "the opening one"])
def test_a_price_that_leaves_and_returns_is_a_jump(factor: float, rows: slice) -> None:
    assert prices(scaled(quiet(), rows, factor)) == {"jump": list(range(30))[rows]}


@pytest.mark.parametrize(("name", "factor"), [("high", 1.2), ("low", 0.8)])
def test_a_wick_far_from_all_trades_around_it_is_a_jump(name: str, factor: float) -> None:
    assert prices(scaled(quiet(), 12, factor, (name,))) == {"jump": [12]}
    assert prices(scaled(quiet(2), 1, factor, (name,))) == {"unconfirmed jump": [1]}


@pytest.mark.parametrize("factor", [1.06, 0.5, 3.0])
def test_a_new_price_is_doubted_until_enough_bars_confirm_it(factor: float) -> None:
    for bars_there in range(1, CONFIRMED):
        moved = scaled(quiet(12 + bars_there), slice(12, None), factor)
        assert prices(moved) == {"unconfirmed jump": list(range(12, 12 + bars_there))}
    assert not prices(scaled(quiet(12 + CONFIRMED), slice(12, None), factor))


def test_bars_that_jump_about_confirm_no_price() -> None:
    bars = quiet(16)
    for row, factor in {12: 10.0, 13: 0.1, 14: 5.0}.items():
        bars = scaled(bars, row, factor)
    assert prices(bars) == {"jump": [12, 13, 14]}


def test_a_fast_move_is_no_jump() -> None:
    """As the fastest of the recorded minutes: 1 % a minute for four minutes, in a ticker that moves 0.1 %."""
    bars = quiet()
    path = np.ones(30)
    path[10:14] = np.cumprod(np.full(4, 1.01))
    path[14:] = path[13]
    before = np.append(1.0, path[:-1])
    moved = replace(
        bars,
        open=bars.open * before,
        close=bars.close * path,
        high=bars.high * np.maximum(before, path),
        low=bars.low * np.minimum(before, path),
    )
    assert not prices(moved)


def test_what_is_a_jump_follows_from_how_the_ticker_moves() -> None:
    bars = quiet()
    wide = replace(bars, high=bars.high * 1.002, low=bars.low * 0.998)
    assert prices(scaled(bars, 12, 1.05)) == {"jump": [12]}
    assert not prices(scaled(wide, 12, 1.05))
    assert prices(scaled(wide, 12, 1 + 1.2 * JUMP_CEILING)) == {"jump": [12]}


def test_the_opening_bar_is_held_against_the_previous_close() -> None:
    opening = quiet(1)
    assert not prices(replace(opening, previous_close=100 / OPENING_FACTOR * 1.01))
    assert prices(replace(opening, previous_close=100 / OPENING_FACTOR * 0.99)) == {"unconfirmed jump": [0]}
    assert prices(replace(opening, previous_close=100 * OPENING_FACTOR * 1.01)) == {"unconfirmed jump": [0]}
    assert not prices(replace(quiet(CONFIRMED), previous_close=10.0))
    wrong = replace(scaled(quiet(3), slice(0, 2), 10.0), previous_close=100.0)
    assert prices(wrong) == {"jump": [0, 1]}


@pytest.mark.parametrize("previous_close", [400.0, 100.0], ids=["before the split", "in shares of after it"])
def test_a_split_at_the_opening_is_no_jump(previous_close: float) -> None:
    opening = quiet(1, previous_close=previous_close)
    split = replace(opening, splits={MINUTES[0]: 4.0})
    assert not prices(split)
    assert prices(scaled(split, slice(None), 10.0)) == {"unconfirmed jump": [0]}


def test_a_feed_that_stands_still_is_stale_and_one_silent_minute_is_not() -> None:
    bars = quiet()

    def still(count: int) -> Bars:
        held = {name: getattr(bars, name).copy() for name in (*PRICES, "volume")}
        for name in PRICES:
            held[name][10 : 10 + count] = bars.close[9]
        held["volume"][10 : 10 + count] = 0
        return replace(bars, **held)

    assert prices(still(STALE_BARS)) == {"stale price": list(range(10, 10 + STALE_BARS))}
    assert not prices(still(STALE_BARS - 1))
    assert not volumes(still(1))


@pytest.mark.parametrize("volume", [-5.0, np.nan, np.inf])
def test_an_impossible_volume_is_withheld(volume: float) -> None:
    bars = quiet()
    assert volumes(with_volume(bars, [*bars.volume[:10], volume, *bars.volume[11:]])) == {"impossible volume": [10]}


def test_a_zero_though_the_price_moves_is_withheld_alone() -> None:
    bars = quiet()
    assert volumes(with_volume(bars, [*bars.volume[:10], 0, *bars.volume[11:]])) == {"zero volume": [10]}
    flat = replace(bars, **{name: np.full(30, 100.0) for name in PRICES})
    assert not volumes(with_volume(flat, [*bars.volume[:10], 0, *bars.volume[11:]]))
    stepped = scaled(flat, slice(10, None), 1.001)
    assert volumes(with_volume(stepped, [*bars.volume[:10], 0, *bars.volume[11:]])) == {"zero volume": [10]}


def test_zeros_that_alternate_with_spikes_make_every_volume_around_them_doubtful() -> None:
    """As four sessions of Yahoo had it: spikes alternating with zeros, prices fine."""
    bars = quiet(390)
    spikes = bars.volume * 5 * (np.arange(390) % 2)
    assert volumes(with_volume(bars, spikes)) == {"alternating zeros": list(range(390))}
    live = with_volume(bars, spikes).take(np.arange(200, 216))
    assert volumes(live) == {"alternating zeros": list(range(16))}


def test_two_zeros_far_apart_are_two_zeros() -> None:
    bars = quiet(60)
    volume = bars.volume.copy()
    volume[[10, 10 + ZEROS_WITHIN]] = 0
    assert volumes(with_volume(bars, volume)) == {"zero volume": [10, 10 + ZEROS_WITHIN]}
    volume[9 + ZEROS_WITHIN] = 0
    assert volumes(with_volume(bars, volume))["alternating zeros"][0] == 10


def test_a_minute_of_more_than_the_days_volume_is_withheld_alone() -> None:
    bars = quiet(day_volume=70_000.0)
    assert volumes(with_volume(bars, [*bars.volume[:10], 70_001, *bars.volume[11:]])) == {"volume spike": [10]}
    assert not volumes(with_volume(bars, [*bars.volume[:10], 15_000, *bars.volume[11:]]))


def test_minutes_of_far_more_than_the_days_volume_are_all_withheld() -> None:
    bars = quiet(390)
    day = bars.volume.sum() / SESSION_VOLUME_LIMIT
    assert volumes(replace(bars, day_volume=day * 0.99)) == {"session volume": list(range(390))}
    assert not volumes(replace(bars, day_volume=day * 1.01))


def test_a_bar_that_is_quarantined_says_nothing_of_the_volumes() -> None:
    bars = quiet()
    volume = bars.volume.copy()
    volume[[10, 12]] = 0
    assert volumes(scaled(with_volume(bars, volume), 12, 10.0)) == {"zero volume": [10]}


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(90, 110) | st.just(0.0)


@given(
    rows=st.lists(st.tuples(st.integers(0, 20), *[NUMBERS] * 5), max_size=25),
    day_volume=st.none() | st.floats(0, 1e6),
    previous_close=st.none() | NUMBERS,
)
def test_rules_judge_whatever_there_is_and_what_they_believe_is_possible(
    rows: list[tuple[float, ...]], day_volume: float | None, previous_close: float | None
) -> None:
    minutes = MINUTES[[int(row[0]) for row in rows]]
    columns = np.array([row[1:] for row in rows], dtype=float).reshape(-1, 5).T
    bars = Bars(minutes, *columns, silent=MINUTES[:0], day_volume=day_volume, previous_close=previous_close).ordered()
    by_price, by_volume = broken(bars)
    kept = bars.take(by_price == "")
    assert len(np.unique(kept.minutes)) == len(kept)
    assert ((kept.low > 0) & (kept.low <= kept.open) & (kept.close <= kept.high) & (kept.high < np.inf)).all()
    sure = bars.volume[(by_price == "") & (by_volume == "")]
    assert ((sure >= 0) & np.isfinite(sure)).all()
