"""Operations of a traced function, counted in its graph."""

import numpy as np


def graph_flops(function):
    """Operations of the matrix products in a traced function, from their shapes."""
    flops = 0
    for op in needed_operations(function.graph):
        if op.type in ("MatMul", "BatchMatMulV2"):
            transposed = op.get_attr("transpose_b" if op.type == "MatMul" else "adj_y")
            inner = op.inputs[1].shape[-1 if transposed else -2]
            flops += 2 * int(np.prod(op.outputs[0].shape.as_list())) * inner
        elif op.type == "Einsum":
            dims = {}
            terms = op.get_attr("equation").decode().split("->")[0].split(",")
            for term, tensor in zip(terms, op.inputs, strict=True):
                dims |= dict(zip(term, tensor.shape.as_list(), strict=True))
            flops += 2 * int(np.prod(list(dims.values())))
    return flops


def needed_operations(graph):
    """Those that a result or a change of state depends on: TensorFlow runs no others."""
    waiting = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    needed = set()
    while waiting:
        op = waiting.pop()
        if op not in needed:
            needed.add(op)
            waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
    return needed
