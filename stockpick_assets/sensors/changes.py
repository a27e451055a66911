"""Which sessions of the tables were written to since a sensor looked last, from the tables' logs alone.

A look at a session's rows takes 0.2 s; a sensor that took one of each session of the window every time would be half a
processor. What does not belong here: what is looked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from stockpick_assets.core.market_hours import Session
from stockpick_assets.store import Store, TableMissing


def changed_sessions(
    store: Store, tables: Sequence[str], sessions: Sequence[Session], looked: Mapping[str, str]
) -> Iterator[tuple[Session, str]]:
    """Each session that the first of `tables` has rows of and whose files in any are others than at the last look.

    looked: state at the last look, by session label. Yields the session and its state now. Raises StoreError.
    """
    held = [_files(store, table) for table in tables]
    for session in sessions:
        names = [sorted(files.get(session.label(), ())) for files in held]
        state = sha256(repr(names).encode()).hexdigest()[:16]
        if names[0] and looked.get(session.label()) != state:
            yield session, state


def _files(store: Store, table: str) -> dict[str, Sequence[str]]:
    try:
        return {day.isoformat(): names for day, names in store.contents(table).files.items()}
    except TableMissing:
        return {}
