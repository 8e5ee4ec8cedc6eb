import json
import os
import signal
import sys
import time

import pytest
from helpers.processes import ROOT, start

from tfbert.errors import InputError, TfbertError
from tfbert.hardware.launch import launch

SHOW = "import os, json; print(json.loads(os.environ['TF_CONFIG'])['task']['index'], flush=True)"


def run(workers, *command):
    return launch(command, workers)


def test_every_worker_has_its_place(tmp_path):
    code = (
        "import os, json; c = os.environ['TF_CONFIG']; "
        f"open(r'{tmp_path}/' + str(json.loads(c)['task']['index']), 'w').write(c)"
    )
    run(3, sys.executable, "-c", code)
    tasks = [json.loads((tmp_path / str(index)).read_text()) for index in range(3)]
    assert [task["task"] for task in tasks] == [{"type": "worker", "index": i} for i in range(3)]
    assert len({tuple(task["cluster"]["worker"]) for task in tasks}) == 1
    assert len(set(tasks[0]["cluster"]["worker"])) == 3


def test_only_the_chief_writes_to_standard_output(capfd):
    run(2, sys.executable, "-c", SHOW)
    captured = capfd.readouterr()
    assert captured.out == "0\n"
    assert captured.err == "[worker 1] 1\n"


def test_the_first_failure_stops_all():
    code = f"{SHOW}; import sys, time; i = json.loads(os.environ['TF_CONFIG'])['task']['index']; "
    code += "sys.exit(7) if i else time.sleep(600)"
    began = time.monotonic()
    with pytest.raises(TfbertError, match="worker 1 of 2 ended with status 7") as caught:
        run(2, sys.executable, "-c", code)
    assert caught.value.exit_status == 7
    assert time.monotonic() - began < 60


def test_sigterm_reaches_every_worker(tmp_path):
    code = (
        "import os, json, signal, sys, time; i = json.loads(os.environ['TF_CONFIG'])['task']"
        f"['index']; path = r'{tmp_path}/' + str(i); "
        "signal.signal(signal.SIGTERM, lambda *_: (os.rename(path, path + '.saved'), "
        "sys.exit(0))); open(path, 'w').close(); time.sleep(600)"
    )
    process = start(["-m", "tfbert", "launch", "--workers", "2", "--", sys.executable, "-c", code])
    try:
        while len(os.listdir(tmp_path)) < 2:
            time.sleep(0.1)
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert sorted(os.listdir(tmp_path)) == ["0.saved", "1.saved"]


def test_gpus_are_shared_out(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    code = (
        "import os, json; i = json.loads(os.environ['TF_CONFIG'])['task']['index']; "
        f"open(r'{tmp_path}/' + str(i), 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    )
    run(2, sys.executable, "-c", code)
    assert [(tmp_path / name).read_text() for name in "01"] == ["4,5", "6,7"]
    with pytest.raises(InputError, match=r"--workers 3: 4 GPU\(s\) do not divide evenly"):
        run(3, "true")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0", "--", "true"], "--workers is 0: it must be at least 1"),
        (["--workers", "2", "--"], "no command to launch: write it after `--`"),
        (["--workers", "2", "--", "/no/such/program"], "/no/such/program: cannot be started"),
    ],
)
def test_wrong_input_is_one_line(arguments, message):
    process = start(["-m", "tfbert", "launch", *arguments])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message in errors and len(errors.splitlines()) == 1
    assert str(ROOT) not in errors
