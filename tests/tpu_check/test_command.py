"""`tfbert tpu-check` with stand-ins for its two processes: what it prints, writes and ends with."""

import json
import logging
import os
import stat
import subprocess
import sys
import time

import pytest

from tfbert.cli import main
from tfbert.hardware.tpu_slices import GIB
from tfbert.io.paths import cache_folder
from tfbert.tpu_check import compiler
from tfbert.tpu_check.compiler import memory_asked_for, prepare_environment

PYTHON = sys.executable  # before a test puts another in its place

# In the place of the lowering: what it is asked for becomes the "module".
LOWER = """
import json, pathlib, sys
request, folder = sys.argv[3:5]
for name in ("module.hlo", "module.exported"):
    pathlib.Path(folder, name).write_bytes(pathlib.Path(request).read_bytes())
pathlib.Path(folder, "lowered.json").write_text(json.dumps(json.loads(%r)))
"""
# In the place of the TPU's compiler: 2 GiB, 1 GiB of accumulators, 1/16 GiB a sequence of 128.
COMPILE = """
import json, pathlib, sys
_, module, topology, replicas, result = sys.argv[1:]
request = json.loads(pathlib.Path(module).read_bytes())
gib, steps = 2**30, request["accumulate_steps"]
size = request["rows"] // steps
length = request["recipe"]["phases"][request["phase"]]["sequence_length"]
need = 2 * gib + gib * (steps > 1) + size * length * gib // 2048
if %r:
    content = {"error": %r}
elif need > 15.48 * gib:
    content = {"error": f"RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. "
               f"Used {need / gib:.2f}G of 15.48G hbm. Exceeded hbm capacity."}
else:
    content = {"arguments": gib, "outputs": 0, "temporaries": need - gib, "code": 0,
               "flops": 1e12}
content["seconds"] = 1.5
assert (topology, replicas) == ("v3:2x2", "8")
with open(pathlib.Path(__file__).with_name("compiled"), "a") as file:
    file.write(f"{size}\\n")
pathlib.Path(result).write_text(json.dumps(content))
"""


@pytest.fixture(autouse=True)
def own_log(monkeypatch):
    """The command's log lines go where this test reads them."""
    monkeypatch.setattr(logging.getLogger("tfbert"), "handlers", [])


@pytest.fixture
def stand_ins(monkeypatch, tmp_path):
    """A function that puts scripts in the place of both processes; returns the sizes compiled."""

    def put(lowered='{"unused_bytes": 0}', error=""):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        python = executable(tmp_path / "lower.py", LOWER % lowered)
        environment = executable(tmp_path / "compile.py", COMPILE % (error, error))
        monkeypatch.setattr(compiler.sys, "executable", python)
        monkeypatch.setattr(compiler, "prepare_environment", lambda: environment)
        record = tmp_path / "compiled"
        return lambda: [int(line) for line in record.read_text().split()]

    return put


def executable(path, text):
    path.write_text(f"#!{PYTHON}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def check(*options):
    return main(["tpu-check", "--recipe", "lamb_untuned", "--accelerator", "v3-8", *options])


def test_what_fits(stand_ins, capsys, tmp_path):
    sizes = stand_ins()
    report = tmp_path / "check.json"
    assert check("--json", str(report)) == 0
    printed = capsys.readouterr()
    assert "v3-8: 4 chips, 8 cores of 16 GiB, of which a program gets 15.48" in printed.out
    assert "phase 1: 24 layers, 512 sequences of 128, a core has 64" in printed.out
    # 64 sequences in one part are 2 + 4 GiB; 215 would fit, and 208 were verified.
    assert "6.00 of 15.48 GiB a core" in printed.out
    assert "208 sequences at once were compiled and fit: the recipe needs one part" in printed.out
    # 64 of 512 in 4 parts of 16: 2 + 1 + 4 GiB; 49 would fit, of the divisors 32.
    assert "phase 2: 24 layers, 512 sequences of 512, a core has 64 in 4 parts" in printed.out
    assert "32 sequences at once were compiled and fit: the recipe needs 2 parts" in printed.out
    assert sizes() == [64, 32, 208, 16, 8, 32]
    content = json.loads(report.read_text())
    assert [phase["largest"] for phase in content["phases"]] == [208, 32]
    assert content["phases"][0]["program"]["used"] == 6 * GIB
    assert "tpu-check: phase 1, 64 sequences a core: compiling" in printed.err


def test_what_was_compiled_once_is_not_compiled_again(stand_ins):
    sizes = stand_ins()
    assert check("--no-largest") == check("--no-largest") == 0
    assert sizes() == [64, 16]


def test_what_does_not_fit(stand_ins, capsys):
    stand_ins()
    assert check("--per-device-batch-size", "64") == 1
    printed = capsys.readouterr()
    assert "compiles   no: does not fit\n  memory     18.00 of 15.48 GiB a core" in printed.out
    # It is told what does: 49 at once would fit with the accumulators.
    assert "32 sequences at once were compiled and fit: the recipe needs 2 parts" in printed.out
    assert "tfbert: error: v3-8: phase 2 does not fit" in printed.err


def test_an_operation_that_xla_does_not_have(stand_ins, capsys):
    stand_ins(lowered='{"unsupported": "AsString"}')
    assert check() == 1
    printed = capsys.readouterr()
    assert "no: does not compile: XLA has no AsString" in printed.out
    assert "v3-8: phase 1 does not compile" in printed.err.splitlines()[-1]


def test_what_the_compiler_refuses(stand_ins, capsys):
    stand_ins(error="UNIMPLEMENTED: no such sort\nmore of it")
    assert check() == 1
    assert "no: is refused: UNIMPLEMENTED: no such sort\n" in capsys.readouterr().out


def test_a_process_that_breaks_down_is_one_line(stand_ins, capsys, tmp_path):
    stand_ins()
    executable(tmp_path / "lower.py", "raise SystemExit('it broke')")
    assert check() == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith("tracing: the process ended with status 1: it broke")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "quick"], "--accelerator"),
        (["--recipe", "quick", "--accelerator", "v9-8"], "--accelerator v9-8: no Cloud TPU"),
        (["--recipe", "nothing", "--accelerator", "v3-8"], "--recipe nothing: no such file"),
        (["--accelerator", "v3-8"], "--recipe must be given"),
        (["--recipe", "quick", "--accelerator", "v3-256"], "--global-batch-size 64 cannot be"),
        (["--recipe", "quick", "--accelerator", "v3-8", "--phases.7.steps", "1"], "--phases.7"),
        (["--recipe", "quick", "--accelerator", "v3-8", "--data", "x"], "--data"),
        (["--recipe", "quick", "--accelerator", "v3-8", "--precision", "float16"], "bfloat16"),
        (["--recipe", "quick", "--accelerator", "v3-8", "--json", "/no/x.json"], "no such folder"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(capsys, arguments, message):
    assert main(["tpu-check", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_a_recipe_that_goes_on_from_a_model_is_refused(capsys, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "init: bert_base_en\nphases: [{steps: 1, global_batch_size: 8, learning_rate: 0.1}]\n"
    )
    assert main(["tpu-check", "--recipe", str(recipe), "--accelerator", "v3-8"]) == 2
    assert "leave init out" in capsys.readouterr().err


def test_the_environment_is_made_once_and_whole(monkeypatch, tmp_path):
    made = []

    def install(command):
        made.append(command)
        if "venv" in command:
            executable_folder = tmp_path / command[-1] / "bin"
            executable_folder.mkdir(parents=True)
            (executable_folder / "python").touch()
        else:
            # Not under its name before all of it is there.
            assert not list((cache_folder() / "tpu-compiler").glob("jax*"))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiler, "_install", install)
    python = prepare_environment()
    assert python.exists() and python == prepare_environment()
    assert [words[-2:] for words in made[1:]] == [[compiler.JAX, "flatbuffers"]]
    assert str(python).startswith(str(tmp_path / "tfbert" / "tpu-compiler" / "jax-tpu-"))


def test_without_a_network_one_line_says_so(monkeypatch, tmp_path, capsys):
    """The order of commands is the real one; the interpreter that runs them is a stand-in."""
    script = "import sys\nprint('noise')\nsys.exit('ERROR: No matching distribution')"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler.sys, "executable", executable(tmp_path / "python", script))
    with pytest.raises(compiler.MachineError) as raised:
        prepare_environment()
    assert "could not be installed (No matching distribution)" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list((cache_folder() / "tpu-compiler").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "asked_for"),
    [
        ("RESOURCE_EXHAUSTED: ... Used 18.25G of 15.48G hbm. Exceeded ...", 18.25 * GIB),
        ("RESOURCE_EXHAUSTED: HLO temporaries (400.00G) exceeds available HBM", 400 * GIB),
        ("RESOURCE_EXHAUSTED: of something", 0),
        ("UNIMPLEMENTED: sort", None),
    ],
)
def test_what_the_compiler_says_of_memory(error, asked_for):
    assert memory_asked_for(error) == asked_for


def test_the_compiler_is_stopped_with_the_command(tmp_path):
    note = tmp_path / "pid"
    code = f"""
import tfbert.tpu_check.check
from tfbert.cli import main
from tfbert.tpu_check.compiler import _run
compiler = ["sh", "-c", "echo $$ > {note}.new; mv {note}.new {note}; exec sleep 600"]
tfbert.tpu_check.check.tpu_check = lambda config: _run(compiler, "asleep", "jax")
main(["tpu-check", "--recipe", "quick", "--accelerator", "v3-8"])
"""
    process = subprocess.Popen([PYTHON, "-c", code])
    while not note.exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    assert process.wait(30) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
