"""Which sessions of a table stand in too many files. What does not belong here: putting them into fewer."""

from collections.abc import Mapping, Sequence
from datetime import date

# Each minute is a file. A session of 100 tickers is read in 0.07 s from one, in 0.3 s from 30 and in 1.2 s from 200.
MOST_FILES_WHILE_OPEN = 20
# No more is added to a session that has closed, but by backfills; a file of delta-rs holds up to 100 MB.
MOST_FILES = 4


def crowded_sessions(files: Mapping[date, Sequence[str]], is_open: date | None) -> list[date]:
    """The sessions to compact, ascending, of a table whose rows stand in `files` by session. is_open: the session that
    trades now; None between sessions.
    """
    return sorted(
        session
        for session, names in files.items()
        if len(names) > (MOST_FILES_WHILE_OPEN if session == is_open else MOST_FILES)
    )
