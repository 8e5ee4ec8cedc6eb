"""The installation on a Cloud TPU's machine, tried on this one, which has no TPU."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# XLA for CPUs is not in tensorflow-tpu: what it would compile here runs as it is, as on a TPU.
ONE_UPDATE = """
import tfbert.xla
tfbert.xla.compiled = lambda function, reduce_retracing=False: function
import googleapiclient.discovery, oauth2client.client
import keras, keras_nlp, numpy as np, tensorflow as tf, tensorflow_text
import tfbert
from tfbert.tasks.tokens.tokenization import tokenize
from tfbert.models.sources import load_encoder

assert "gs" in tf.io.gfile.get_registered_schemes()
encoder = load_encoder("embedded", "mixed_bfloat16")
model = tfbert.BertClassifier(encoder.backbone, num_classes=2)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(tfbert.LAMB(1e-3, jit_compile=False), loss, jit_compile=False)
texts = tokenize(encoder.tokenizer, ["good", "bad"], 3)
tokens = np.stack([texts[0], texts[1]])
inputs = {"token_ids": tokens, "segment_ids": 0 * tokens, "padding_mask": 0 * tokens + 1}
before = [np.array(weight) for weight in model.trainable_weights]
model.fit(inputs, np.array([1, 0]), batch_size=2, verbose=0)
after = map(np.array, model.trainable_weights)
assert sum(not np.array_equal(old, new) for old, new in zip(before, after)) > 10
print(tf.__version__)
"""


@pytest.mark.slow
def test_it_installs_imports_and_trains_a_step(tmp_path):
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "TPU_SKIP_MDS_QUERY": "1",  # libtpu would look for Google's metadata server, for minutes
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    for name in filter(None, files.stdout.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (tmp_path / "package" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, tmp_path / "package" / name)
    script = tmp_path / "package" / "scripts" / "setup_tpu_vm.sh"
    for _ in range(2):  # a second time for a new version of the package
        subprocess.run(["bash", script, tmp_path / "venv"], check=True, env=environment)
    python = tmp_path / "venv" / "bin" / "python"
    command = [python, "-c", ONE_UPDATE]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    pinned = (tmp_path / "package" / "requirements-tpu.txt").read_text()
    assert f"tensorflow-tpu=={done.stdout.split()[-1]}\n" in pinned
    installed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True)
    assert "\ntensorflow " not in installed.stdout
