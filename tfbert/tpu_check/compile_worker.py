"""Compiles a program with the TPU's compiler; runs in that compiler's own environment.

    python compile_worker.py MODULE TOPOLOGY REPLICAS RESULT.json

MODULE is XLA's, of one replica of many (`.hlo`), or what JAX has exported of a program for all
devices (`.exported`). It imports nothing of tfbert: its environment has JAX and libtpu, and no
TensorFlow.
"""

import json
import os
import sys
import time
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"  # no TPU is looked for
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-4"  # any: the topology is named below
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"

import jax
import jax.export
import numpy as np
from jax._src.interpreters import mlir
from jax._src.lib import _jax, xla_client
from jax._src.lib.mlir import ir
from jax.experimental import topologies


def main(module_path: str, topology_name: str, replicas: str, result_path: str) -> None:
    """Compiles a module and writes what is known of the program."""
    one_chip = {"chips_per_host_bounds": [1, 1, 1]} if topology_name.endswith(":1x1") else {}
    topology = topologies.get_topology_desc(topology_name, platform="tpu", **one_chip)
    devices = topology.devices[: int(replicas)]
    began = time.time()
    try:
        if module_path.endswith(".hlo"):
            program = _compile(module_path, devices)
            memory = program.get_compiled_memory_stats()
        else:
            program = _compile_exported(module_path, devices)
            memory = program.memory_analysis()
    except _jax.JaxRuntimeError as error:
        result: dict[str, Any] = {"error": str(error)}
    else:
        cost = program.cost_analysis()
        cost = cost[0] if isinstance(cost, list) else cost
        result = {
            "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes - memory.alias_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "code": memory.generated_code_size_in_bytes,
            "flops": cost["flops"],
        }
    result["seconds"] = time.time() - began
    with open(result_path, "w", encoding="utf-8") as file:
        json.dump(result, file)


def _compile(path: str, devices: list[Any]) -> Any:
    with open(path, "rb") as file:
        computation = xla_client.XlaComputation(file.read())
    text = xla_client._xla.mlir.xla_computation_to_mlir_module(computation)
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
        _remove_copies(module.operation)
        options = xla_client.CompileOptions()
        options.num_replicas = len(devices)
        options.num_partitions = 1
        options.device_assignment = xla_client.DeviceAssignment.create(
            np.array([[device.id] for device in devices])
        )
        return devices[0].client.compile(
            module,
            executable_devices=xla_client.DeviceList(tuple(devices)),
            compile_options=options,
        )


def _compile_exported(path: str, devices: list[Any]) -> Any:
    with open(path, "rb") as file:
        exported = jax.export.deserialize(bytearray(file.read()))
    mesh = jax.sharding.Mesh(np.array(devices), ("replica",))
    shardings = exported.in_shardings_jax(mesh)
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    arguments = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=sharding or everywhere)
        for aval, sharding in zip(exported.in_avals, shardings, strict=True)
    ]
    arguments, named = jax.tree.unflatten(exported.in_tree, arguments)
    # The first argument is what the program writes.
    program = jax.jit(exported.call, donate_argnums=0)
    return program.lower(*arguments, **named).compile()


def _remove_copies(operation: Any) -> None:
    """TensorFlow puts an `mhlo.copy` before each updated variable; the compiler refuses them."""
    for region in operation.regions:
        for block in region.blocks:
            for inner in list(block.operations):
                _remove_copies(inner.operation)
                if inner.operation.name == "mhlo.copy":
                    inner.operation.results[0].replace_all_uses_with(inner.operation.operands[0])
                    inner.operation.erase()


if __name__ == "__main__":
    main(*sys.argv[1:])
