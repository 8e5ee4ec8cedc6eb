"""Writes LAMB trajectories of TensorFlow Addons 0.23 to an .npz file; see tfa_reference.sh.

The file holds, without pickles: `names`, for each name its `initial/NAME` and
`gradients/NAME` (step first), `cases` (the constructor's arguments as JSON, one string a case)
and `weights/CASE/NAME`: the weights after every fifth step.
"""

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

STEPS = 50
KEPT = 5  # every fifth step is enough to see where two implementations part
SHAPES = {
    "dense/kernel": (4, 6),
    "dense/bias": (6,),
    "norm/gamma": (5,),
    "norm/beta": (5,),
    "embeddings": (3, 2, 4),
    "temperature": (),
}
EXCLUSIONS = [
    {},
    {"exclude_from_weight_decay": ["bias", "gamma", "beta"]},
    {"exclude_from_layer_adaptation": ["bias", "temperature"]},
    {
        "exclude_from_weight_decay": ["bias", "gamma", "beta"],
        "exclude_from_layer_adaptation": ["gamma", "temperature"],
    },
]


def main(path):
    # RandomState's stream is frozen, unlike that of numpy's newer generators.
    random = np.random.RandomState(904_00962)
    arrays = {"names": np.array(list(SHAPES))}
    for name, shape in SHAPES.items():
        arrays[f"initial/{name}"] = np.asarray(random.normal(size=shape), "float32")
        # Steps of very different size exercise the second moment.
        scale = np.exp(random.normal(size=(STEPS,) + (1,) * len(shape)))
        gradients = scale * random.normal(size=(STEPS, *shape))
        arrays[f"gradients/{name}"] = np.asarray(gradients, "float32")
    cases = [
        {"learning_rate": 0.02, "weight_decay": decay, **exclusions}
        for decay in (0.0, 0.01, 0.1)
        for exclusions in EXCLUSIONS
    ]
    arrays["cases"] = np.array([json.dumps(case) for case in cases])
    for number, case in enumerate(cases):
        for name, weights in trajectory(case, arrays).items():
            arrays[f"weights/{number}/{name}"] = weights
    np.savez_compressed(path, **arrays)


def trajectory(case, arrays):
    optimizer = tfa.optimizers.LAMB(**case)
    variables = {name: tf.Variable(arrays[f"initial/{name}"], name=name) for name in SHAPES}
    weights = {name: [] for name in SHAPES}
    for step in range(STEPS):
        gradients = [tf.constant(arrays[f"gradients/{name}"][step]) for name in SHAPES]
        optimizer.apply_gradients(zip(gradients, variables.values(), strict=True))
        if (step + 1) % KEPT == 0:
            for name, variable in variables.items():
                weights[name].append(variable.numpy())
    return {name: np.stack(values) for name, values in weights.items()}


if __name__ == "__main__":
    main(sys.argv[1])
