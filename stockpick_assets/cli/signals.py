"""The signals that end a command, made one: whatever ends it, what it started is stopped first."""

import signal

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_as_by_ctrl_c() -> None:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP too.

    SIGHUP stays ignored under nohup. SIGINT does not: a shell starts what it puts in the background with it ignored,
    and Dagster's runs then ignore SIGTERM too.
    """
    for number in _ENDS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def ignore_ends() -> None:
    """Let nothing end the command any more: a second Ctrl-C would leave behind what it has not stopped yet."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
