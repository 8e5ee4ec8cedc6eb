import pytest
from helpers.foreign_models import VARIANTS, reference

from tfbert.errors import InputError
from tfbert.models.formats.hub import fetch
from tfbert.models.trained_model import load_model


@pytest.fixture
def hub(monkeypatch):
    """The hub with one model and many other files; a list of what was asked of it."""
    asked = []
    files = [file.name for file in (VARIANTS / "classifier").iterdir()]
    files += ["pytorch_model.bin", "tf_model.h5", "onnx/model.safetensors", "README.md"]

    def download(name, revision=None, allow_patterns=None, local_files_only=False):
        asked.append((name, revision, allow_patterns))
        return str(VARIANTS / "classifier")

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", lambda *a, **b: files)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked


def test_only_what_is_read_is_fetched(hub):
    classifier = load_model("hf://owner/name@v2")
    assert classifier.labels == ["bad", "fair", "good"]
    assert classifier.model(reference("classifier")[0]).shape == (3, 3)
    ((name, revision, files),) = hub
    assert (name, revision) == ("owner/name", "v2")
    assert files == sorted(
        [
            *("config.json", "tokenizer.json", "tokenizer_config.json"),
            "model.safetensors.index.json",
            *(f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)),
        ]
    )


def test_without_a_network_the_cache_serves(hub, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", refuse)
    assert fetch("hf://owner/name") == VARIANTS / "classifier"
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(InputError, match="cannot be loaded: no network; check the name"):
        fetch("hf://owner/name")
