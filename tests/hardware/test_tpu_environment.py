import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tfbert.hardware.tpu_environment import find_tpu_library, prepare

NO_PACKAGE = {"find_package": lambda name: None}


@pytest.fixture
def make_root(tmp_path):
    """A file system with some devices and files."""

    def make_root(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make_root


@pytest.mark.parametrize("device", ["dev/accel0", "dev/vfio/0"])
def test_a_machine_with_a_tpu(make_root, device):
    root = make_root(device, "lib/libtpu.so")
    environment = {"PJRT_DEVICE": "chosen"}
    assert prepare(environment, root, **NO_PACKAGE)
    assert environment == {
        "TPU_NAME": "local",
        "PJRT_DEVICE": "chosen",
        "NEXT_PLUGGABLE_DEVICE_USE_C_API": "true",
        "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": str(root / "lib" / "libtpu.so"),
    }
    assert prepare(environment, root, **NO_PACKAGE)


def test_the_library_of_the_package_goes_before_that_of_the_image(make_root):
    root = make_root("dev/accel0", "lib/libtpu.so", "site-packages/libtpu/libtpu.so")
    package = SimpleNamespace(submodule_search_locations=[str(root / "site-packages" / "libtpu")])
    library = find_tpu_library(root, lambda name: package)
    assert library == root / "site-packages" / "libtpu" / "libtpu.so"


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("lib/libtpu.so",),  # an image without a TPU
        ("dev/accel0",),  # another maker's accelerator
        ("dev/vfio/vfio", "lib/libtpu.so"),  # a host of virtual machines
        ("dev/accel/accel0", "lib/libtpu.so"),  # the kernel's own folder for accelerators
    ],
)
def test_any_other_machine_is_left_alone(make_root, names):
    environment = {}
    assert not prepare(environment, make_root(*names), **NO_PACKAGE)
    assert environment == {}


@pytest.mark.parametrize("chosen", [{"TPU_NAME": "slice"}, {"TPU_LOAD_LIBRARY": "0"}])
def test_a_tpu_that_was_chosen_stays_chosen(make_root, chosen):
    environment = dict(chosen)
    assert not prepare(environment, make_root("dev/accel0", "lib/libtpu.so"), **NO_PACKAGE)
    assert environment == chosen


def test_this_machine_is_as_before():
    program = "import os, tfbert; print(sorted(name for name in os.environ if 'TPU' in name))"
    command = [sys.executable, "-c", program]
    environment = {name: value for name, value in os.environ.items() if "TPU" not in name}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
