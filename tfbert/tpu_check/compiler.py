"""The TPU's compiler on a machine without a TPU: libtpu by way of JAX, in its own environment.

The package's environment gets neither. What was compiled once is kept, so that a check that was
interrupted goes on, until tfbert's code or a library changes.

References:
    https://docs.jax.dev/en/latest/aot.html
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tfbert
from tfbert.errors import MachineError, TfbertError, first_line
from tfbert.hardware.tpu_slices import GIB, TpuSlice
from tfbert.io.paths import cache_folder
from tfbert.io.whole import replacing, write_json
from tfbert.tpu_check import lowering
from tfbert.tpu_check.lowering import Request

log = logging.getLogger("tfbert")

JAX = "jax[tpu]==0.10.2"  # brings the libtpu that goes with it
_EXPORT = "flatbuffers"  # what JAX reads exported programs with
_FOLDER = "tpu-compiler"  # in the user's cache: the compiler's environment and its results
_WORKER = Path(__file__).with_name("compile_worker.py")
_PROGRESS_SECONDS = 30
_OUT_OF_MEMORY = (
    r"Used (?P<used>[\d.]+)(?P<unit>[KMG]) of [\d.]+[KMG] hbm",
    r"HLO temporaries \((?P<used>[\d.]+)(?P<unit>[KMG])\) exceeds",
)
_UNITS = {"K": 2**10, "M": 2**20, "G": GIB}


@dataclasses.dataclass(frozen=True)
class Program:
    """What the compiler says of one core's program.

    Args:
        rows: Sequences that the core has of each batch.
        accumulate_steps: Micro-batches that it computes them in.
        fits: Whether it has room in the memory of a core; None where it cannot be compiled.
        problem: Why it does not fit or compile, one line; else empty.
        arguments: Bytes of weights, optimizer state and batch.
        outputs: Bytes of results that do not take an argument's place.
        temporaries: Bytes of activations, gradients and the like.
        code: Bytes of the program itself.
        unused: Bytes of variables in the core's memory that it does not use.
        flops: Operations of one execution as the compiler counts them; of a loop, one round.
        used: All these bytes together; of a program that does not fit, as the compiler says.
        seconds: How long the compiler took.
    """

    rows: int
    accumulate_steps: int
    fits: bool | None
    problem: str = ""
    arguments: int = 0
    outputs: int = 0
    temporaries: int = 0
    code: int = 0
    unused: int = 0
    flops: float = 0.0
    used: int = 0
    seconds: float = 0.0

    @property
    def batch_size(self) -> int:
        """Sequences that the core computes at once."""
        return self.rows // self.accumulate_steps


def prepare_environment() -> Path:
    """The Python of the compiler's environment, which is made where it is not there.

    Raises:
        MachineError: If it cannot be made, as without a network.
    """
    name = re.sub(r"\W+", "-", f"{JAX}-{_EXPORT}-py{sys.version_info[0]}.{sys.version_info[1]}")
    environment = cache_folder() / _FOLDER / name
    python = environment / "bin" / "python"
    if python.exists():
        return python
    log.info("tpu-check: installing %s into %s, once", JAX, environment)
    environment.parent.mkdir(parents=True, exist_ok=True)
    with replacing(environment) as temporary:
        _install([sys.executable, "-m", "venv", str(temporary)])
        new_python = str(temporary / "bin" / "python")
        _install([new_python, "-m", "pip", "install", "--quiet", JAX, _EXPORT])
    return python


def _install(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no reason given"]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise MachineError(
            f"{JAX} could not be installed ({reason.removeprefix('ERROR: ')}): tpu-check needs the "
            "package index once, and Linux on x86-64, for which libtpu is made"
        )


def compile_program(request: Request, tpu_slice: TpuSlice, label: str) -> Program:
    """Lowers a training step and compiles it for a slice; `label` names it in the progress lines.

    Raises:
        TfbertError: If one of the two processes fails for another reason than its input.
    """
    kept = cache_folder() / _FOLDER / "results" / f"{_digest(request, tpu_slice)}.json"
    if kept.exists():
        return Program(**json.loads(kept.read_bytes()))
    with tempfile.TemporaryDirectory(prefix="tfbert-tpu-check-") as temporary:
        folder = Path(temporary)
        write_json(folder / "request.json", dataclasses.asdict(request))
        module = "lowering" if request.backend == "tensorflow" else "jax_lowering"
        command = [sys.executable, "-m", f"tfbert.tpu_check.{module}"]
        _run([*command, folder / "request.json", folder], f"{label}: tracing", request.backend)
        lowered = json.loads((folder / lowering.RESULT_FILE).read_bytes())
        shape = {"rows": request.rows, "accumulate_steps": request.accumulate_steps}
        if problem := lowered.get("unsupported"):
            return Program(**shape, fits=None, problem=f"does not compile: XLA has no {problem}")
        file = lowering.MODULE_FILE if module == "lowering" else lowering.EXPORTED_FILE
        words = [folder / file, tpu_slice.topology, tpu_slice.cores]
        result = folder / "compiled.json"
        compiler = [prepare_environment(), _WORKER, *words, result]
        _run(compiler, f"{label}: compiling", request.backend)
        result = json.loads(result.read_bytes())
    program = _program(shape, result, lowered["unused_bytes"], tpu_slice)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, dataclasses.asdict(program))
    return program


def _program(
    shape: dict[str, int], result: dict[str, Any], unused: int, tpu_slice: TpuSlice
) -> Program:
    seconds = result.pop("seconds")
    if error := result.pop("error", None):
        used = memory_asked_for(error)
        fits = None if used is None else False
        problem = "does not fit" if used is not None else f"is refused: {first_line(error)[:300]}"
        return Program(**shape, fits=fits, problem=problem, used=used or 0, seconds=seconds)
    used = sum(result[name] for name in ("arguments", "outputs", "temporaries", "code")) + unused
    fits = used <= tpu_slice.usable_bytes
    problem = "" if fits else "does not fit together with variables that the step does not use"
    return Program(
        **shape, fits=fits, problem=problem, unused=unused, used=used, seconds=seconds, **result
    )


def _digest(request: Request, tpu_slice: TpuSlice) -> str:
    """A digest of what the program is made from.

    It is not that of the module, which TensorFlow would have to trace, and makes different each
    time.
    """
    packages = (request.backend, "keras", "keras-hub")
    versions = [importlib.metadata.version(name) for name in packages]
    words = [JAX, tpu_slice.topology, versions, dataclasses.asdict(request)]
    digest = hashlib.sha256(json.dumps(words).encode())
    for file in sorted(Path(tfbert.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def _run(command: list[Any], label: str, backend: str) -> None:
    """Runs a process to its end, with a log line every half minute."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    began = time.monotonic()
    log.info("tpu-check: %s", label)
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_PROGRESS_SECONDS)
                    break
                log.info("tpu-check: %s, %.0f seconds", label, time.monotonic() - began)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or ["no message"]
            raise TfbertError(
                f"tpu-check: {label}: the process ended with status {process.returncode}: "
                f"{lines[-1]}"
            )


def memory_asked_for(error: str) -> int | None:
    """Bytes that a program was refused for, or None if it was refused for something else."""
    for pattern in _OUT_OF_MEMORY:
        if match := re.search(pattern, error):
            return round(float(match["used"]) * _UNITS[match["unit"]])
    return 0 if "RESOURCE_EXHAUSTED" in error else None
