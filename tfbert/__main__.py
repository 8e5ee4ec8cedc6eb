"""`tfbert`, and `python -m tfbert`: Ctrl-C ends it without a traceback from its first moment on."""

import signal
import sys


def main() -> None:
    """Runs the command of the command line, and ends the process."""
    # Until the command takes over, and after it: while Python imports or tidies up, Ctrl-C just
    # ends the process, as it does in a program that is not Python.
    # A shell that starts a command in the background may have it ignored, and then it stays so.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tfbert.cli import main

    status = main()
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


if __name__ == "__main__":
    main()
