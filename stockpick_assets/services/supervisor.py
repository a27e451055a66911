"""Starting services together, telling which of them died, and stopping what a home started.

What belongs here: order, waiting, and what is said when something is in the way. What does not: any one service.
"""

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from threading import Event

import psutil

from stockpick_assets.services import process
from stockpick_assets.services.process import GRACE_SECONDS
from stockpick_assets.services.service import Service, ServiceError
from stockpick_assets.settings import Settings

Progress = Callable[[str], None]
SECONDS_BETWEEN_QUESTIONS = 0.1
SECONDS_FOR_ONE_ELSEWHERE = 10.0


class ServiceDied(ServiceError):
    """A service that was started is not running any more."""


class StoppedElsewhere(ServiceError):
    """Another command has stopped the services, or is about to."""


def bring_up(settings: Settings, services: Sequence[Service], on_progress: Progress) -> None:
    """Start those of `services` that do not run, side by side, and wait until all of them answer.

    When one cannot be started, or on Ctrl-C, those started by this call are stopped again. Raises ServiceError.
    """
    for service in services:
        _check_can_run(settings, service)
    given_up = Event()
    began = time.monotonic()
    pool = ThreadPoolExecutor(max_workers=len(services))
    answered = {service.name: Event() for service in services}
    launched: list[Service] = []

    def bring_up_one(service: Service) -> None:
        for name in service.needs:
            while name in answered and not answered[name].wait(SECONDS_BETWEEN_QUESTIONS):
                if given_up.is_set():
                    return
        _bring_up_one(settings, service, launched, given_up)
        answered[service.name].set()

    answers: dict[Future[None], Service] = {pool.submit(bring_up_one, service): service for service in services}
    try:
        for future in as_completed(answers):
            future.result()
            address = answers[future].address(settings)
            where = f" at {address}" if address else ""
            on_progress(f"{answers[future].name} answers{where} ({time.monotonic() - began:.1f} s)")
    except BaseException:
        given_up.set()
        pool.shutdown()
        take_down(settings, [[service] for service in launched[::-1]], lambda line: None)
        raise
    pool.shutdown()


def take_down(settings: Settings, groups: Iterable[Sequence[Service]], on_progress: Progress) -> None:
    """Stop the services that this home started: those of a group at one time, the groups one after the other."""
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        for group in groups:
            ending = {pool.submit(service.process(settings).end, service.grace_seconds): service for service in group}
            for future in as_completed(ending):
                if future.result():
                    on_progress(f"{ending[future].name} stopped ({time.monotonic() - began:.1f} s)")


def check_alive(settings: Settings, services: Sequence[Service]) -> None:
    """Raise ServiceDied when one of `services` was started in this home, was not stopped, and is dead.

    Raises StoppedElsewhere when none of them is left to be looked after, or another command has the home.
    """
    processes = [(service, service.process(settings)) for service in services]
    dead = [(service, running) for service, running in processes if running.recorded and running.leader() is None]
    if not any(running.recorded for _, running in processes) or (dead and _taken(settings)):
        raise StoppedElsewhere(f"another command stopped the services of {settings.home.absolute()}")
    for service, running in dead:
        raise ServiceDied(_with_log(f"a service died: {service.name}", running))


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Keep a second `up` or `down` out of this home meanwhile. Raises ServiceError at once."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "services.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServiceError(
                f"services of {settings.home.absolute()} are being started or stopped by another command; "
                "wait for it, or set STOCKPICK_HOME to use a home of your own"
            ) from None
        yield


def _taken(settings: Settings) -> bool:
    """Whether another command starts or stops services of this home now."""
    try:
        with only_one(settings):
            return False
    except ServiceError:
        return True


def _check_can_run(settings: Settings, service: Service) -> None:
    if not service.is_local(settings):
        return
    running = service.process(settings)
    if running.leader() is None:
        running.end()
        service.require(settings)
        _check_port(settings, service)
    elif not running.launched_with(service.environment(settings)):
        raise ServiceError(
            f"the {service.name} already runs in {settings.home.absolute()} with other settings; "
            "stop it with `stockpick down`, then try again"
        )


def _bring_up_one(settings: Settings, service: Service, launched: list[Service], given_up: Event) -> None:
    if not service.is_local(settings):
        if not _wait(lambda: service.healthy(settings), SECONDS_FOR_ONE_ELSEWHERE, given_up):
            raise ServiceError(
                f"no answer from the {service.name} at {service.address(settings)} within "
                f"{SECONDS_FOR_ONE_ELSEWHERE:.0f} s; is {service.variable} right?"
            )
        service.complete(settings)
        return
    running = service.process(settings)
    leader: psutil.Process | psutil.Popen | None = running.leader()
    if leader is None:
        arguments = service.arguments(settings)
        if given_up.is_set():
            return
        launched.append(service)
        leader = running.launch(arguments, service.environment(settings), service.folder(settings))
    dead = False

    def answers() -> bool:
        nonlocal dead
        dead = running.leader() is None
        return dead or service.healthy(settings)

    if not _wait(answers, service.patience_seconds, given_up):
        if given_up.is_set():
            return
        raise ServiceError(
            _with_log(f"the {service.name} gave no answer within {service.patience_seconds:.0f} s", running)
        )
    if dead:
        status = leader.wait(timeout=GRACE_SECONDS)
        raise ServiceDied(_with_log(f"the {service.name} died at its start (exit status {status})", running))
    service.complete(settings)


def _wait(condition: Callable[[], bool], seconds: float, given_up: Event) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end or given_up.wait(SECONDS_BETWEEN_QUESTIONS):
            return False
    return True


def _check_port(settings: Settings, service: Service) -> None:
    if not service.setting or process.port_is_free(port := service.port(settings)):
        return
    raise ServiceError(
        f"port {port} of the {service.name} is taken by {process.holder_of(port)}; "
        f"stop that, or set {service.variable} to another port, or STOCKPICK_PORT_OFFSET to move every port"
    )


def _with_log(problem: str, running: process.ServiceProcess) -> str:
    return "\n".join([f"{problem}; its log {running.log.absolute()} ends:", *running.last_lines()])
