"""What has been published: minutes as a reader of the topics gets them, each whole."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stockpick_assets.core.messages import Message, MessageError, parse_message

# A session's: after an outage they come topic by topic.
MOST_WAITING = 390


@dataclass(frozen=True)
class PublishedMinute:
    """One minute's messages, one a ticker."""

    minute: datetime
    messages: tuple[Message, ...]

    def best(self) -> Message | None:
        """The message of rank 1; None when no ticker has a rank."""
        return next((message for message in self.messages if message.rank == 1), None)


def published_minutes(
    poll: Callable[[float], Sequence[bytes]],
    tell: Callable[[str], None],
    tickers: Sequence[str],
    begins: datetime,
    seconds: float = 0.5,
) -> Iterator[PublishedMinute | None]:
    """Each minute from `begins` on whose messages of all `tickers` have come, in the order in which they are complete.

    Each is told once, with the newest version of each message that had come by then; later corrections are passed over.
    Of those that do not complete the newest MOST_WAITING are waited for. Endless: None after each poll that completes
    no minute, for the caller to look around. Raises what `poll` raises.

    poll: waits at most the seconds it is given for messages (TopicReader.poll). tell: is given a line for each text
    that is no message, which is passed over.
    """
    waiting: dict[datetime, dict[str, Message]] = {}
    while True:
        for text in poll(seconds):
            try:
                message = parse_message(text)
            except MessageError as error:
                tell(f"passed over: {error}")
                continue
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
        for minute in sorted(waiting)[:-MOST_WAITING]:
            del waiting[minute]
        if not complete:
            yield None
