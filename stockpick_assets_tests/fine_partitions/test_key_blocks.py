"""Packed partition keys."""

from hypothesis import given
from hypothesis import strategies as st

from stockpick_assets.fine_partitions.key_blocks import holds, pack, unpack

part = st.text(st.characters(exclude_characters="|", exclude_categories=("Cs",)), min_size=1, max_size=3)
of_two = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")).map("|".join)
keys = st.sets(of_two | part | st.tuples(part, part).map("|".join))


@given(keys, of_two | part)
def test_packed_keys_are_the_keys(packed_keys: set[str], other: str) -> None:
    packed = pack(packed_keys)

    assert unpack(packed) == packed_keys
    assert all(holds(packed, key) for key in packed_keys)
    assert holds(packed, other) == (other in packed_keys)


def test_a_session_of_a_hundred_tickers_is_ten_kilobytes() -> None:
    session = [f"2024-06-03 {9 + (30 + minute) // 60:02d}:{(30 + minute) % 60:02d}" for minute in range(390)]

    assert len(pack(f"{minute}|T{ticker:03d}" for minute in session for ticker in range(100))) < 10_000
