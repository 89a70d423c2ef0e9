"""When Ctrl-C takes effect."""

from __future__ import annotations

import signal
import threading

import pytest

from nas.search.interrupts import deferred_interrupt, interruptible


def test_it_takes_effect_at_the_end():
    done, before = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        done.append("all")
    assert done and signal.getsignal(signal.SIGINT) is before
    with deferred_interrupt():
        pass


def test_it_is_not_lost_where_something_fails():
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        raise ValueError


def test_a_second_one_takes_effect_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("all")
    assert not done


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


def test_sigterm_waits_as_well_where_it_does_what_ctrl_c_does():
    done = []
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), deferred_interrupt():
            signal.raise_signal(signal.SIGTERM)
            done.append("all")
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    with deferred_interrupt():
        assert signal.getsignal(signal.SIGTERM) is before
    assert done


def test_other_threads_are_left_alone():
    done = []

    def work():
        with deferred_interrupt():
            done.append("all")

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
