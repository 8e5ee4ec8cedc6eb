import importlib.util
import json
import shutil

import pytest
from helpers.error_lines import error_line

from tfbert.cli import main
from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.io.whole import is_whole
from tfbert.models.encoder import weights_by_path
from tfbert.models.pretrainer import HEADS_FILE, load_pretrainer
from tfbert.models.trained_model import load_model
from tfbert.runs import export as export_module
from tfbert.runs import export_options
from tfbert.runs.export import export
from tfbert.runs.export_options import ExportConfig
from tfbert.runs.outputs.run_directory import read_run_config


def make(model, output, format="huggingface", **options):
    export(ExportConfig(model=str(model), format=format, output=str(output), **options))


def test_a_classifier_for_transformers(trained_run, tmp_path, capsys):
    output = tmp_path / "new" / "bert"
    words = ["export", "--model", str(trained_run), "--format", "huggingface"]
    assert main([*words, "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"Exported model: {output}\n"
    assert {path.name for path in output.parent.iterdir()} == {"bert"}
    names = {"README.md", "config.json", "model.safetensors", "vocab.txt", "tokenizer.json"}
    names |= {"tokenizer_config.json", "special_tokens_map.json"}
    assert {path.name for path in output.iterdir()} == names
    ours, again = (load_model(str(path)) for path in (trained_run, output))
    for path, variable in weights_by_path(ours.model).items():
        assert (variable.numpy() == weights_by_path(again.model)[path].numpy()).all(), path
    assert (again.labels, again.max_length) == (ours.labels, ours.max_length)


def test_the_model_card(trained_run, trained_metrics, tmp_path):
    data = read_run_config(trained_run)["data"]
    make(trained_run, tmp_path / "bert")
    card = (tmp_path / "bert" / "README.md").read_text()
    assert "pipeline_tag: text-classification\n" in card
    assert f"| accuracy | {trained_metrics['accuracy']:.4g} |" in card
    assert f"- training data: `{data}`\n" in card
    assert "--optimizer lamb" in card and "--text-column review" in card
    assert "--overwrite" not in card and "--weight-decay" not in card  # a default
    assert f"tfbert export --model {trained_run} --format huggingface" in card


def test_a_pretrained_run(pretrained_run, tmp_path):
    make(pretrained_run, tmp_path / "bert", dtype="bfloat16")
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    assert config["architectures"] == ["BertForPreTraining"]
    card = (tmp_path / "bert" / "README.md").read_text()
    assert "tfbert pretrain --recipe recipe.yaml" in card and "phases:" in card
    ours, again = (load_pretrainer(str(path))[0] for path in (pretrained_run, tmp_path / "bert"))
    for path, variable in weights_by_path(ours).items():
        other = weights_by_path(again)[path].numpy()
        assert abs(variable.numpy() - other).max() <= abs(variable.numpy()).max() / 256, path


def test_a_damaged_file_of_heads(pretrained_run, tmp_path):
    shutil.copytree(pretrained_run / "model", tmp_path / "model")
    heads = tmp_path / "model" / HEADS_FILE
    heads.write_bytes(heads.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{HEADS_FILE}: damaged"):
        make(tmp_path / "model", tmp_path / "bert")


def test_a_folder_on_gs(trained_run, object_store):
    for _ in range(2):
        make(trained_run, "gs://bucket/bert", overwrite=True)
    folder = as_path("gs://bucket/bert")
    assert is_whole(folder) and (folder / "model.safetensors").exists()
    with pytest.raises(InputError, match="replace it with --overwrite"):
        make(trained_run, "gs://bucket/bert")


def test_what_stood_there_is_kept_unless_it_is_to_be_replaced(trained_run, tmp_path, monkeypatch):
    output = tmp_path / "bert"
    make(trained_run, output)
    before = (output / "README.md").read_bytes()
    with pytest.raises(
        InputError, match=r"holds an exported model; .* replace it with --overwrite"
    ):
        make(trained_run, output)
    with pytest.raises(InputError, match="is the model itself"):
        make(output, output, overwrite=True)

    def fail(model, folder, config):
        (folder / "half").write_text("")
        raise InputError("no more")

    with monkeypatch.context() as patch:
        patch.setitem(export_module._WRITERS, "huggingface", fail)
        with pytest.raises(InputError, match="no more"):
            make(trained_run, output, overwrite=True)
    assert (output / "README.md").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["bert"]
    (output / "old").write_text("")
    make(trained_run, output, overwrite=True)
    assert not (output / "old").exists()


def test_links_and_the_working_folder(trained_run, tmp_path, monkeypatch):
    place = tmp_path / "disk"
    place.mkdir()
    monkeypatch.chdir(place)
    make(trained_run, ".")
    link = tmp_path / "link"
    link.symlink_to(place)
    (place / "old").write_text("")
    make(trained_run, link, overwrite=True)
    assert link.is_symlink() and (link / "model.safetensors").exists()
    assert not (place / "old").exists()


def test_a_folder_that_holds_the_model(trained_run, tmp_path):
    make(trained_run, tmp_path / "outer")
    shutil.copytree(tmp_path / "outer", tmp_path / "outer" / "inner")
    with pytest.raises(InputError, match="outer: holds the model itself"):
        make(tmp_path / "outer" / "inner", tmp_path / "outer", overwrite=True)
    assert (tmp_path / "outer" / "inner" / "model.safetensors").exists()


def test_an_empty_folder_and_one_that_is_something_else(trained_run, tmp_path):
    make(trained_run, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds files that are not an exported model"):
        make(trained_run, other, overwrite=True)
    with pytest.raises(InputError, match=r"thesis.txt is a file"):
        make(trained_run, other / "thesis.txt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "onyx"], "--format is 'onyx': it must be one of huggingface, savedmodel"),
        (["--format", "onnx", "--dtype", "float16"], "must be float32 for --format onnx"),
        (["--format", "litert", "--model", "nowhere"], "model nowhere: no such directory"),
        (["--format", "savedmodel"], "model embedded has no classification head; train one with"),
    ],
)
def test_one_line_and_status_2(tmp_path, capsys, words, message):
    given = ["export", "--model", "embedded", "--output", str(tmp_path / "out"), *words]
    assert message in error_line(given, capsys)
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run(tmp_path):
    (tmp_path / "config.yaml").write_text("task: embedded\n")
    with pytest.raises(InputError, match="an unfinished run"):
        make(tmp_path, tmp_path / "out")


def test_a_package_that_is_missing_is_named_before_the_model_is_loaded(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else found(name)
    )
    monkeypatch.setitem(export_options._PACKAGES, "onnx", ("json", "tf2onnx"))
    with pytest.raises(InputError, match=r'tf2onnx is not installed; .*pip install "tfbert\[exp'):
        make("nowhere", tmp_path / "out", "onnx")
