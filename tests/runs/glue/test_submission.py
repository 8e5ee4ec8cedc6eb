"""Test files answered for the leaderboard, by a run on tiny sets."""

import keras
import numpy as np
import pytest
from helpers.error_lines import error_line
from helpers.glue_files import GOOD, OTHER, write_glue

from tfbert.cli import main
from tfbert.errors import InputError
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import TrainedModel, make_model, save_model
from tfbert.runs.command_options import PredictConfig
from tfbert.runs.predict import predict
from tfbert.runs.scoring import predict_outputs
from tfbert.tasks.known_tasks import TASKS, layout_of
from tfbert.tasks.problems.classification import Classification


@pytest.fixture(scope="module")
def mrpc_run(small_model, tmp_path_factory):
    """A run of MRPC that was not trained, and its original files: (run, folder of the data)."""
    folder = tmp_path_factory.mktemp("mrpc")
    data = write_glue(folder, "MRPC") / "MRPC"
    encoder = load_encoder(str(small_model), "float32")
    problem = Classification(["different", "equivalent"], "f1", has_pairs=True)
    keras.utils.set_random_seed(2)
    model = make_model(encoder.backbone, problem)
    trained = TrainedModel(model, encoder.tokenizer, problem, 16)
    path, layout = data / "msr_paraphrase_test.txt", layout_of(TASKS["mrpc"])
    encoded = problem.encode(encoder.tokenizer, problem.read(path, layout, labelled=False), 16)
    logits = predict_outputs(trained, encoded.texts, 8)
    # Half of the pairs are to be answered with each label.
    model.output_dense.bias.assign([np.median(logits[:, 1] - logits[:, 0]), 0])
    save_model(trained, folder / "run" / "model")
    (folder / "run" / "config.yaml").write_text("command: finetune\ntask: mrpc\n")
    return folder / "run", data


def submit(run, given, output, *more):
    words = ["predict", "--model", str(run), "--input", str(given), "--no-progress"]
    return [*words, "--glue-submission", str(output), *more]


def rows(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_the_labels_are_those_that_predict_gives(mrpc_run, tmp_path, capsys):
    run, data = mrpc_run
    assert main(submit(run, data, tmp_path / "new" / "folder")) == 0
    path = tmp_path / "new" / "folder" / "MRPC.tsv"
    assert capsys.readouterr().out.split() == [str(path)]
    header, *found = rows(path)
    assert header == ["index", "prediction"]
    # The original test file has no index: its rows are numbered, as GLUE's test.tsv is.
    assert [row[0] for row in found] == [str(number) for number in range(8)]
    pairs = tmp_path / "pairs.txt"
    texts = [(GOOD[n % 4], OTHER[(n // 2) % 4]) for n in range(8)]
    pairs.write_text("".join(f"{a}\t{b}\n" for a, b in texts))
    answers = predict(PredictConfig(model=str(run), input=str(pairs), progress=False))
    names = {"different": "0", "equivalent": "1"}
    assert [row[1] for row in found] == [names[answer["label"]] for answer in answers]
    assert len({row[1] for row in found}) == 2


def test_glues_own_test_file_has_an_index(mrpc_run, tmp_path):
    path = tmp_path / "test.tsv"
    header = "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    path.write_text(header + "7\t1\t2\tA cat.\tThe cat.\n3\t1\t2\tA dog.\tA cow.\n")
    assert main(submit(mrpc_run[0], path, tmp_path)) == 0
    assert [row[0] for row in rows(tmp_path / "MRPC.tsv")] == ["index", "7", "3"]


def test_a_broken_test_file_leaves_what_was_there(mrpc_run, tmp_path, capsys):
    (tmp_path / "MRPC.tsv").write_text("before")
    path = tmp_path / "test.tsv"
    path.write_text("index\t#1 String\t#2 String\n0\tA cat.\n")
    line = error_line(submit(mrpc_run[0], path, tmp_path), capsys)
    assert line.startswith(f"{path}, line 2: 2 columns, the header has 3")
    assert (tmp_path / "MRPC.tsv").read_text() == "before"


def test_what_cannot_be_answered(mrpc_run, small_model, tmp_path, capsys):
    line = error_line(submit(mrpc_run[0], tmp_path, tmp_path), capsys)
    assert "is, or holds, none of test.tsv, msr_paraphrase_test.tsv" in line
    line = error_line(submit(mrpc_run[0], tmp_path / "none.tsv", tmp_path), capsys)
    assert f"{tmp_path / 'none.tsv'}: no such file" in line
    line = error_line(submit(small_model, tmp_path, tmp_path), capsys)
    assert "is no run of a GLUE task (cola, sst2, mrpc, " in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "-"}, "give --input, a GLUE task's folder or test file"),
        ({"n_best": 2}, "a submission has one answer"),
        ({"text_column": "a"}, "the task knows its own columns"),
        ({"glue_submission": "/dev/null/here"}, "--glue-submission /dev/null/here: "),
    ],
)
def test_options_that_do_not_go_together(options, message):
    given = {"model": "embedded", "input": "folder", "glue_submission": "there", **options}
    with pytest.raises(InputError, match=message):
        PredictConfig(**given)
