"""Kill -9 of the relay, the run, the broker and the daemon at every step, and what a reader then has of the messages.

In each round a run commits the next picks, or corrections of them, and a relay sends them, and one of the processes is
killed at a step and after a delay that the seed and the round's number decide; those that are left or started again
send the rest. At the end a consumer with `read_committed` reads all topics, and what it has is held against the table
picks. The broker and the object store are the bench's own. The last line printed is one JSON object.

    .venv/bin/python bench/crash_rounds.py --rounds 200 --seed 7
    .venv/bin/python bench/crash_rounds.py --rounds 200 --seed 7 --only 83
"""

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common import report

from stockpick_assets import services
from stockpick_assets.services.kafka import Kafka as Broker
from stockpick_assets.services.object_store import ObjectStore
from stockpick_assets.services.process import free_ports
from stockpick_assets.settings import Settings
from stockpick_assets_tests.crashes import Crash, Rounds, dagster_at_work, plan, prepare_processes
from stockpick_assets_tests.delivery import Delivery, Key, delivery, read_topics

SERVICES = (Broker(), ObjectStore())


def by_step(
    rounds: Rounds, stored: dict[Key, str], found: Delivery, seconds: dict[Crash, float]
) -> list[dict[str, Any]]:
    """A row for each victim and step: its rounds, their messages, and those that were not delivered once, in order."""
    of: dict[tuple[str, str], Counter[str]] = {}
    for crash in seconds:
        counts = of.setdefault((crash.victim, str(crash.step)), Counter())
        counts["rounds"] += 1
    for key in stored:
        crash = rounds.round_of[key.minute]
        of[crash.victim, str(crash.step)].update({"messages": 1, "corrections": key.version > 1})
    for problem, key in found.wrong():
        crash = rounds.round_of[key.minute]
        of[crash.victim, str(crash.step)][problem] += 1
    figures = ("rounds", "messages", "corrections", *vars(found))
    return [
        {"victim": victim, "step": step, **{figure: counts[figure] for figure in figures}}
        for (victim, step), counts in sorted(of.items())
    ]


def main() -> None:
    """Play the rounds, print the table, and fail where a message was lost, repeated, altered or out of order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="how many (200)")
    parser.add_argument("--seed", type=int, default=7, help="what decides them (7)")
    parser.add_argument("--only", type=int, help="play this one of them alone")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rounds_of_plan = plan(arguments.rounds, arguments.seed)
    if arguments.only is not None:
        rounds_of_plan = [rounds_of_plan[arguments.only]]
    prepare_processes()
    with tempfile.TemporaryDirectory() as home, ExitStack() as at_work:
        kafka, store, code = free_ports(3)
        settings = Settings(
            home=Path(home),
            kafka_bootstrap=f"127.0.0.1:{kafka}",
            s3_endpoint=f"http://127.0.0.1:{store}",
            dagster_code_server=f"127.0.0.1:{code}",
        )
        at_work.callback(services.stop, settings, SERVICES)
        settings = services.start(settings, SERVICES, print)
        rounds, seconds, began = Rounds(settings, arguments.seed), dict[Crash, float](), time.monotonic()
        for crash in rounds_of_plan:
            started = time.monotonic()
            if crash.victim == "daemon" and not any(earlier.victim == "daemon" for earlier in seconds):
                at_work.enter_context(dagster_at_work(settings))
            try:
                rounds.play(crash)
            except Exception:
                print(f"failed in {again(arguments, crash)}", flush=True)
                raise
            seconds[crash] = time.monotonic() - started
            print(f"{crash.number:3} {crash.victim:6} {crash.step!s:40} {seconds[crash]:5.1f} s", flush=True)
        stored = rounds.stored()
        found = delivery(stored, read_topics(rounds.kafka, settings.source))
    rows = by_step(rounds, stored, found, seconds)
    for row in rows:
        print(" | ".join(map(str, row.values())))
    for problem, key in found.wrong():
        print(f"{problem}: {key}, {again(arguments, rounds.round_of[key.minute])}")
    report(
        {
            "seed": arguments.seed,
            "rounds": len(seconds),
            "messages": len(stored),
            "corrections": sum(key.version > 1 for key in stored),
            **{problem: len(keys) for problem, keys in vars(found).items()},
            "rounds_s": time.monotonic() - began,
            "slowest_round_s": max(seconds.values()),
            "steps": rows,
        }
    )
    sys.exit(bool(found))


def again(arguments: argparse.Namespace, crash: Crash) -> str:
    """What to type to play the round again."""
    return f"round {crash.number}: --rounds {arguments.rounds} --seed {arguments.seed} --only {crash.number}"


if __name__ == "__main__":
    main()
