"""torch's fused AdamW for `optimizers.py`: lines of JSON in, lines of JSON out.

The first line has the shapes of the parameters; each further one is a number of updates, answered
by the seconds of one. Needs torch; it does not import this package.
"""

import json
import sys
import time

import torch


def main():
    torch.manual_seed(0)
    parameters = []
    for shape in json.loads(sys.stdin.readline()):
        parameter = torch.nn.Parameter(0.02 * torch.randn(shape))
        parameter.grad = 1e-3 * torch.randn(shape)
        parameters.append(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01, fused=True)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        updates = int(line)
        began = time.perf_counter()
        for _ in range(updates):
            optimizer.step()
        print(json.dumps((time.perf_counter() - began) / updates), flush=True)


main()
