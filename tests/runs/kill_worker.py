"""`tfbert` in a process that kills itself after so many updates, once there is a checkpoint.

python kill_worker.py FOLDER UPDATE WORD ...
"""

import os
import signal
import sys
import time
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def main(folder, update, *words):
    from helpers.pretraining_run import stopped

    from tfbert.cli import main
    from tfbert.runs.outputs.callbacks import StatusUpdates

    os.chdir(folder)
    checkpoints = Path(words[words.index("--output") + 1], "checkpoints")

    def kill():
        while not list(checkpoints.glob("step-*/manifest.json")):  # written last, by a thread
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)

    with stopped(StatusUpdates, int(update), act=kill):
        main(words)


if __name__ == "__main__":
    main(*sys.argv[1:])
