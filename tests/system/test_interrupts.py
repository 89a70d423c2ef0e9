"""When a deferred Ctrl-C takes effect."""

from __future__ import annotations

import signal
import threading

import pytest

from nas.system import interrupts
from nas.system.interrupts import (
    END_SIGNALS,
    deferred_interrupt,
    end_like_ctrl_c,
    interruptible,
    told_to_end,
)

pytestmark = pytest.mark.usefixtures("sigint_raises")


def test_it_takes_effect_at_the_end():
    done, before = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        done.append("all")
    assert done and signal.getsignal(signal.SIGINT) is before
    with deferred_interrupt():
        pass


def test_what_fails_meanwhile_is_told_instead():
    with pytest.raises(ValueError, match="full disk"), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("full disk")


def test_a_second_one_takes_effect_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("all")
    assert not done


def test_two_act_twice_not_three_times():
    with deferred_interrupt():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        with interruptible():
            pass


def test_what_takes_long_is_interrupted_at_once():
    done = []
    with deferred_interrupt():
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(signal.SIGINT)
            done.append("long")
        done.append("short")
    assert done == ["short"]


def test_what_was_pressed_before_interrupts_what_takes_long():
    done = []
    with deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interruptible():
            done.append("long")
        with interruptible():
            done.append("once")
    assert done == ["once"]


def test_what_takes_long_may_stand_alone():
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)


def test_other_handlers_are_called_as_late():
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        with deferred_interrupt():
            signal.raise_signal(signal.SIGTERM)
            assert not told
            with interruptible():
                assert told == [signal.SIGTERM]
                signal.raise_signal(signal.SIGTERM)
                assert len(told) == 2
            signal.raise_signal(signal.SIGTERM)
            assert len(told) == 2
        assert len(told) == 3
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_are_left_alone():
    done = []

    def work():
        with deferred_interrupt(), interruptible():
            done.append("all")

    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert done


def test_where_it_is_ignored_it_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupt():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def end_signals():
    """The signals that end a program, with the default handlers; restores those of before."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in END_SIGNALS}
    yield END_SIGNALS
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_that_end_a_program_act_once(end_signals):
    """`timeout` sends SIGTERM twice, and a terminal that is closed SIGHUP."""
    for number in end_signals:
        end_like_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        for again in end_signals:
            signal.raise_signal(again)


def test_signals_that_end_a_program_are_deferred_however_often_they_come(end_signals):
    for number in end_signals:
        end_like_ctrl_c()
        done = []
        with pytest.raises(KeyboardInterrupt), deferred_interrupt():
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("all")
        assert done
        with deferred_interrupt():
            signal.raise_signal(number)


def test_told_to_end_is_what_another_program_said_and_ctrl_c_does_not(end_signals):
    end_like_ctrl_c()
    assert not told_to_end()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(end_signals[0])
    assert told_to_end()
    end_like_ctrl_c()
    assert not told_to_end()


def test_a_signal_that_comes_later_acts_again(end_signals, monkeypatch):
    end_like_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(end_signals[0])
    monkeypatch.setattr(interrupts, "TWICE_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(end_signals[0])


def test_signals_that_are_ignored_stay_ignored(end_signals):
    """As with `nohup`."""
    for number in end_signals:
        signal.signal(number, signal.SIG_IGN)
    end_like_ctrl_c()
    assert {signal.getsignal(number) for number in end_signals} == {signal.SIG_IGN}
