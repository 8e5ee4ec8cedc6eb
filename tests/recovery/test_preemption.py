import os
import signal
import subprocess
import sys
import threading

import pytest

from tfbert.recovery.preemption import TerminationWatch


@pytest.mark.parametrize("signalled", [True, False])
def test_the_first_signal_is_noted_and_the_handler_put_back(signalled):
    before = signal.getsignal(signal.SIGTERM)
    with TerminationWatch() as watch:
        assert not watch.requested
        assert signal.getsignal(signal.SIGTERM) != before
        if signalled:
            os.kill(os.getpid(), signal.SIGTERM)
            assert signal.getsignal(signal.SIGTERM) == before
        assert watch.requested == signalled
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_second_signal_ends_the_process():
    code = (
        "import os, signal; from tfbert.recovery.preemption import TerminationWatch\n"
        "with TerminationWatch():\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print('one', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print('two', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "one\n"
    assert done.returncode == -signal.SIGTERM


def test_after_a_ctrl_c_the_next_one_is_again_what_it_was():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        with TerminationWatch() as watch:
            os.kill(os.getpid(), signal.SIGINT)
            assert watch.by_user and not seen
        os.kill(os.getpid(), signal.SIGINT)
        assert seen == [1]
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with TerminationWatch() as watch:
            os.kill(os.getpid(), signal.SIGINT)
            assert not watch.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_a_thread_nothing_is_noted_and_nothing_fails():
    seen = []

    def use():
        with TerminationWatch() as watch:
            seen.append(watch.requested)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == [False]


def test_ctrl_c_is_noted_and_a_second_one_ends_the_process():
    code = (
        "import os, signal; from tfbert.recovery.preemption import TerminationWatch\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # else that of the tests
        "with TerminationWatch() as watch:\n"
        "    os.kill(os.getpid(), signal.SIGINT); print(watch.requested, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('two', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n"
    assert done.returncode == -signal.SIGINT
    assert "Traceback" not in done.stderr
