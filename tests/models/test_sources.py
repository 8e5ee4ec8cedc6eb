import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.foreign_models import VARIANTS
from helpers.small_encoder import assert_same_weights

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.io.whole import FINISHED_FILE, replacing, write_bytes
from tfbert.models.layers.self_attention import bert_initializer, weights_follow
from tfbert.models.sources import load_encoder, resolve_source


def test_the_embedded_model():
    encoder = load_encoder("embedded", "mixed_bfloat16")
    assert encoder.backbone.dtype_policy.name == "mixed_bfloat16"
    assert encoder.backbone.vocabulary_size == len(encoder.tokenizer.vocabulary) == 8000
    assert encoder.tokenizer.strip_accents


def test_a_model_without_a_pooler_gets_a_random_one():
    dense = load_encoder(str(VARIANTS / "encoder_without_pooler")).backbone.pooled_dense
    assert 0.01 < np.std(dense.kernel) < 0.03  # BERT's are 0.02, cut off


def test_values_that_a_file_replaces_are_not_drawn():
    """Nor does that change what is drawn afterwards, or what a copy of the layer begins with."""
    keras.utils.set_random_seed(1)
    bert_initializer()
    expected = np.array(bert_initializer()((4, 4)))
    keras.utils.set_random_seed(1)
    with weights_follow():
        replaced = bert_initializer()
        assert not np.any(replaced((4, 4), "float32"))
    np.testing.assert_array_equal(bert_initializer()((4, 4)), expected)
    config = keras.initializers.serialize(replaced)
    assert np.all(keras.initializers.deserialize(config)((4, 4)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no config.json in it"),
        (lambda path: (path / "config.json").write_text("{}"), "no weights in it"),
        (
            lambda path: [
                (path / "config.json").write_text("{}"),
                (path / "model.weights.h5").write_bytes(b"cut"),
            ],
            "cannot be loaded: .*check that the files are a complete BERT",
        ),
        (lambda path: (path / "config.yaml").write_text("a: 1"), "an unfinished run"),
    ],
)
def test_an_incomplete_directory_is_named(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        load_encoder(str(tmp_path), "float32")


def test_unknown_names_and_files(tmp_path):
    with pytest.raises(InputError, match=r"no BERT preset of that name.*bert_tiny_en_uncased"):
        resolve_source("bert_huge")
    with pytest.raises(InputError, match="no such directory; on the Hugging Face Hub it is hf://"):
        resolve_source("google-bert/bert-base-uncased")
    for path in ("runs/nope", f"{tmp_path}/nope", "tests/nope"):
        with pytest.raises(InputError, match=r"no such directory$"):
            resolve_source(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; give the model's directory"):
        resolve_source(str(tmp_path / "file"))


@pytest.mark.parametrize("source", ["bert_tiny_en_uncased", "hf://google/bert"])
def test_an_unreachable_hub_is_one_line(monkeypatch, source):
    def refuse(*arguments, **options):
        raise OSError("name or service not known\nand forty lines more")

    monkeypatch.setattr("kagglehub.model_download", refuse)
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", refuse)
    with pytest.raises(InputError) as error:
        load_encoder(source, "float32")
    assert str(error.value) == (
        f"model {source}: cannot be loaded: name or service not known; "
        "check the name and the network, or give a local directory"
    )


def test_the_source_of_a_run_is_its_model(tmp_path):
    (tmp_path / "config.yaml").write_text("task: embedded\n")
    (tmp_path / "model").symlink_to(MODEL_DIRECTORY)
    assert load_encoder(str(tmp_path), "float32").backbone.num_layers == 3


def test_a_model_on_gs_is_copied_once(object_store):
    run = as_path("gs://bucket/run")
    write_bytes(run / "config.yaml", b"task: embedded")
    with pytest.raises(InputError, match="an unfinished run"):
        resolve_source(str(run))
    with replacing(run / "model") as temporary:
        shutil.copytree(MODEL_DIRECTORY, temporary)
    local = resolve_source(str(run))
    config = "config.json"
    assert (Path(local) / config).read_bytes() == (MODEL_DIRECTORY / config).read_bytes()
    assert resolve_source(str(run / "model")) == local
    encoder = load_encoder(str(run), "float32")
    assert_same_weights(encoder.backbone, load_encoder("embedded", "float32").backbone)
    (run / "model" / FINISHED_FILE).unlink()
    with pytest.raises(InputError, match="an unfinished run"):
        resolve_source(str(run))
    with pytest.raises(InputError, match="no such folder"):
        resolve_source("gs://bucket/none")
