import pytest

from tfbert.errors import InputError
from tfbert.tasks.glue.submissions import prediction_in_file, write_predictions
from tfbert.tasks.known_tasks import TASKS


@pytest.mark.parametrize(
    ("task", "answer", "expected"),
    [
        ("sst2", {"label": "positive", "probability": 0.9}, "1"),
        ("cola", {"label": "unacceptable"}, "0"),
        ("mrpc", {"label": "equivalent"}, "1"),
        ("qqp", {"label": "1"}, "1"),
        ("wnli", {"label": "entailment"}, "1"),
        ("mnli", {"label": "neutral"}, "neutral"),
        ("ax", {"label": "contradiction"}, "contradiction"),
        ("qnli", {"label": "not_entailment"}, "not_entailment"),
        ("rte", {"label": "entailment"}, "entailment"),
        ("stsb", {"score": 3.14159}, "3.142"),
        ("stsb", {"score": 5.2}, "5.000"),
        ("stsb", {"score": -0.1}, "0.000"),
    ],
)
def test_labels_are_spelled_as_the_leaderboard_wants(task, answer, expected):
    assert prediction_in_file(task, answer) == expected


def test_every_name_leads_back_to_a_label_of_the_files():
    for task in ("sst2", "cola", "mrpc", "qqp", "wnli"):
        names = TASKS[task].names
        assert {prediction_in_file(task, {"label": names[cell]}) for cell in "01"} == {"0", "1"}


def test_a_model_of_another_task_is_refused():
    with pytest.raises(InputError, match=r"answers 'neutral', and RTE has the labels entailment"):
        prediction_in_file("rte", {"label": "neutral"})


def test_the_lines_of_a_file(tmp_path):
    path = tmp_path / "RTE.tsv"
    rows = [("0", "entailment"), ("1", "not_entailment"), ("12", "entailment")]
    assert write_predictions(path, iter(rows)) == 3
    assert path.read_bytes() == (
        b"index\tprediction\n0\tentailment\n1\tnot_entailment\n12\tentailment\n"
    )


def test_an_index_twice_leaves_what_was_there(tmp_path):
    path = tmp_path / "RTE.tsv"
    path.write_text("before")
    with pytest.raises(InputError, match=r"RTE.tsv: two texts have the index 1"):
        write_predictions(path, [("1", "a"), ("1", "b")])
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
