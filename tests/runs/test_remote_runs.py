"""A run from its data to its predictions with all its files on gs://."""

from unittest.mock import MagicMock

import pytest

from tfbert.io.paths import as_path, files_below
from tfbert.io.whole import is_whole, read_json
from tfbert.runs.command_options import EvaluateConfig, PredictConfig
from tfbert.runs.evaluate import evaluate
from tfbert.runs.finetune import finetune
from tfbert.runs.predict import predict


@pytest.mark.slow
def test_all_of_a_run_may_be_on_gs(object_store, config, data, monkeypatch):
    # TensorBoard opens its files itself, past the stand-in.
    monkeypatch.setattr(
        "tensorboard.summary.writer.event_file_writer.EventFileWriter", lambda path: MagicMock()
    )
    local = finetune(config(early_stopping=1))
    for path in data.iterdir():
        object_store.objects[f"gs://bucket/data/{path.name}"] = path.read_bytes()
    remote = config(early_stopping=1, data="gs://bucket/data", output="gs://bucket/run")
    result = finetune(remote)
    run = as_path("gs://bucket/run")
    metrics = read_json(run / "metrics.json")
    assert metrics == result.metrics
    assert metrics | {"seconds": 0} == local.metrics | {"seconds": 0}
    assert is_whole(run / "model")
    names = {str(path.relative_to(run)) for path in files_below(run)}
    assert names >= {"config.yaml", "status.json"}
    assert "checkpoints/step-0000000008/manifest.json" in names
    assert ".lock" not in names
    assert not any("writing" in name for name in names)

    again = evaluate(EvaluateConfig(model="gs://bucket/run", progress=False))
    # Its batches are others than those of `finetune`, and so is the rounding.
    assert again["loss"] == pytest.approx(metrics["loss"], rel=1e-6)
    assert again["accuracy"] == metrics["accuracy"]
    object_store.objects["gs://bucket/texts.txt"] = b"A fine film.\nDreadful.\n"
    answers = predict(
        PredictConfig(model="gs://bucket/run", input="gs://bucket/texts.txt", progress=False)
    )
    assert [answer["text"] for answer in answers] == ["A fine film.", "Dreadful."]
