"""What the demo tells, and what it does about a broker that goes away."""

from collections.abc import Sequence

from stockpick_assets.cli.play import patient
from stockpick_assets.resources.kafka import BrokerError


def test_a_broker_that_goes_away_is_told_once_and_asked_again_until_it_is_back() -> None:
    answers: list[Sequence[bytes] | BrokerError] = [[b"1"], BrokerError("away"), BrokerError("away"), [b"2"]]
    told: list[str] = []

    def poll(seconds: float) -> Sequence[bytes]:
        answer = answers.pop(0)
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    asked_again = patient(poll, told.append)
    assert [asked_again(0) for _ in range(4)] == [[b"1"], [], [], [b"2"]]
    assert told == ["away; trying again"]
