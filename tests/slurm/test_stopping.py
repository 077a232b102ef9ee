import os
import signal

import pytest

from fdbpl.slurm.stopping import Stopped, stop_signals


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_raises_stopped(signum: signal.Signals) -> None:
    with stop_signals() as signals, pytest.raises(Stopped, match=signum.name), signals.released():
        os.kill(os.getpid(), signum)
        signal.pause()
    assert signals.received == signum.name


def test_a_signal_that_comes_while_held_waits() -> None:
    with stop_signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGTERM"
        with pytest.raises(Stopped), signals.released():
            pytest.fail("ran though a signal was waiting")


def test_a_second_signal_does_not_disturb_the_clean_up() -> None:
    cleaned = False
    with stop_signals() as signals, pytest.raises(Stopped), signals.released():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned = True
    assert cleaned


def test_an_except_exception_does_not_swallow_it() -> None:
    assert not issubclass(Stopped, Exception)


def test_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR2)
    with stop_signals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR2)) == before


def test_a_forked_child_dies_as_it_would_have() -> None:
    with stop_signals() as signals, signals.released():
        child = os.fork()
        if child == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os._exit(3)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
