import pytest

from tfbert.tasks.glue.benchmark import GLUE, files_to_answer, task_folders


def test_folders_are_found_by_the_benchmarks_names(tmp_path):
    for name in ("RTE", "CoLA", "diagnostic", "SST-2", "SNLI"):
        (tmp_path / name).mkdir()
    found = task_folders(tmp_path)
    assert list(found) == ["cola", "sst2", "rte", "ax"]
    assert found["ax"] == tmp_path / "diagnostic"


def test_the_leaderboards_names():
    titles = [title for task in GLUE.values() for title in task.tests]
    # gluebenchmark.com/faq: "a zip of these files".
    assert titles == [
        *("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI-m", "MNLI-mm", "QNLI", "RTE", "WNLI", "AX")
    ]


@pytest.mark.parametrize(
    ("task", "names", "expected"),
    [
        ("cola", ["train.tsv", "test.tsv"], {"CoLA": "test.tsv"}),
        ("mrpc", ["msr_paraphrase_test.txt"], {"MRPC": "msr_paraphrase_test.txt"}),
        ("mrpc", ["msr_paraphrase_test.txt", "test.tsv"], {"MRPC": "test.tsv"}),
        (
            "mnli",
            ["test_matched.tsv", "test_mismatched.tsv"],
            {"MNLI-m": "test_matched.tsv", "MNLI-mm": "test_mismatched.tsv"},
        ),
        ("mnli", ["test_mismatched.tsv"], {"MNLI-mm": "test_mismatched.tsv"}),
        ("ax", ["diagnostic.tsv"], {"AX": "diagnostic.tsv"}),
        ("rte", ["train.tsv"], {}),
    ],
)
def test_test_files_of_a_folder(tmp_path, task, names, expected):
    for name in names:
        (tmp_path / name).write_text("")
    found = files_to_answer(task, tmp_path)
    assert found == {title: tmp_path / name for title, name in expected.items()}


def test_a_test_file_by_its_name(tmp_path):
    def titles(task, name):
        (tmp_path / name).write_text("")
        return list(files_to_answer(task, tmp_path / name))

    assert titles("mnli", "test_mismatched.tsv") == ["MNLI-mm"]
    assert titles("mnli", "other.tsv") == []  # which of the two it is, nobody can tell
    assert titles("cola", "other.tsv") == ["CoLA"]
