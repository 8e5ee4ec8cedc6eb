import os
import signal
import subprocess
import sys
import threading

from tfbert.recovery.preemption import Preempted, TerminationWatch


def test_the_first_signal_is_noted_and_the_handler_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with TerminationWatch() as watch:
        assert not watch.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert watch.requested
        assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_a_signal_the_handler_is_put_back_too():
    before = signal.getsignal(signal.SIGTERM)
    with TerminationWatch():
        assert signal.getsignal(signal.SIGTERM) != before
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


def test_in_a_thread_nothing_is_noted_and_nothing_fails():
    seen = []

    def use():
        with TerminationWatch() as watch:
            seen.append(watch.requested)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == [False]


def test_its_exit_status_is_its_own():
    assert Preempted.exit_status == 75
