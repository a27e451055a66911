"""What has been published: minutes as a reader of the topics gets them, each whole."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stockpick_assets.core.messages import Message, parse_message


@dataclass(frozen=True)
class PublishedMinute:
    """One minute's messages, one a ticker."""

    minute: datetime
    messages: tuple[Message, ...]

    def best(self) -> Message | None:
        """The message of rank 1; None when no ticker has a rank."""
        return next((message for message in self.messages if message.rank == 1), None)


def published_minutes(
    poll: Callable[[float], Sequence[bytes]], tickers: Sequence[str], begins: datetime, seconds: float = 0.5
) -> Iterator[PublishedMinute | None]:
    """Each minute from `begins` on whose messages of all `tickers` have come, in the order in which they are complete.

    Each is told once, with the newest version of each message that had come by then; later corrections are passed over.
    poll: waits at most the seconds it is given for messages (TopicReader.poll). Endless: None after each poll that
    completes no minute, for the caller to look around. Raises MessageError, and what `poll` raises.
    """
    waiting: dict[datetime, dict[str, Message]] = {}
    while True:
        for text in poll(seconds):
            message = parse_message(text)
            if message.minute < begins:
                continue
            if message.supersedes is None:
                waiting.setdefault(message.minute, {})
            minute = waiting.get(message.minute)
            if minute is not None and message.version >= minute.get(message.ticker, message).version:
                minute[message.ticker] = message
        complete = sorted(minute for minute, messages in waiting.items() if len(messages) == len(tickers))
        for minute in complete:
            yield PublishedMinute(minute, tuple(waiting.pop(minute).values()))
        if not complete:
            yield None
