import gzip
import io
import zipfile
from collections import Counter

import pytest

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.labelled_data import LabelledData
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.problems.classification import Classification, label_ids, label_names


def write_table(path, rows):
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))


def test_a_folder_with_its_own_evaluation_split(tmp_path):
    write_table(tmp_path / "train.csv", [("a", 0), ("b", 1)])
    write_table(tmp_path / "validation.csv", [("c", 1)])
    train, evaluation = LabelledData("csv", tmp_path).splits()
    assert train.texts == ["a", "b"]
    assert evaluation.texts == ["c"]
    assert LabelledData("csv", tmp_path).evaluation() == evaluation


def test_evaluation_needs_no_training_file(tmp_path):
    write_table(tmp_path / "dev.csv", [("c", 1)])
    assert LabelledData("csv", tmp_path).evaluation().texts == ["c"]
    with pytest.raises(InputError, match=r"holds no train\.csv"):
        LabelledData("csv", tmp_path).splits()


def test_one_file_is_split_in_equal_shares_of_the_labels(tmp_path):
    path = tmp_path / "all.csv"
    write_table(path, [(f"text {i}", "ab"[i % 4 == 0]) for i in range(200)])
    train, evaluation = LabelledData("csv", path).splits(fraction=0.2)
    assert Counter(evaluation.labels) == {"a": 30, "b": 10}
    assert sorted(train.texts + evaluation.texts) == sorted(f"text {i}" for i in range(200))
    assert LabelledData("csv", path).splits(fraction=0.2) == (train, evaluation)
    assert LabelledData("csv", path).splits(fraction=0.2, seed=1)[1] != evaluation
    assert len(LabelledData("csv", path).evaluation().texts) == 200


def test_a_label_with_one_example_stays_in_training(tmp_path):
    path = tmp_path / "all.csv"
    write_table(path, [("x", "rare"), *((f"text {i}", "ab"[i % 2]) for i in range(20))])
    for seed in range(20):
        train, evaluation = LabelledData("csv", path).splits(seed=seed)
        assert "rare" in train.labels
        assert Counter(evaluation.labels) == {"a": 1, "b": 1}


def test_few_examples_are_split_as_well_as_they_can(tmp_path):
    path = tmp_path / "all.csv"
    write_table(path, [("x", "a"), ("y", "a"), ("z", "b")])
    train, evaluation = LabelledData("csv", path).splits()
    assert (sorted(train.labels), evaluation.labels) == (["a", "b"], ["a"])
    # At least one of each label, with three labels and with thirty.
    for count in (3, 30):
        labels = [f"label {number}" for number in range(count)]
        write_table(path, [(f"{label} {i}", label) for label in labels for i in range(4)])
        train, evaluation = LabelledData("csv", path).splits()
        assert Counter(evaluation.labels) == dict.fromkeys(labels, 1)
        assert Counter(train.labels) == dict.fromkeys(labels, 3)
    write_table(path, [("x", "a"), ("y", "b")])
    with pytest.raises(InputError, match="too few examples to hold some out"):
        LabelledData("csv", path).splits()


def test_a_test_file_without_labels_is_left_out(tmp_path, caplog):
    caplog.set_level("INFO", "tfbert")
    write_table(tmp_path / "train.csv", [(f"text {i}", "ab"[i % 2]) for i in range(20)])
    held_out = LabelledData("csv", tmp_path / "train.csv").splits()
    for content in ("id,text\n1,x\n", "text,label\nx,\n", "text,label\nx,-1\n"):
        caplog.clear()
        (tmp_path / "test.csv").write_text(content)
        assert LabelledData("csv", tmp_path).splits() == held_out
        assert LabelledData("csv", tmp_path).evaluation() == held_out[1]
        assert "test.csv: has no labels, and is left out" in caplog.text
    # The columns of these texts are others, which is a mistake.
    (tmp_path / "test.csv").write_text("id,sentence\n1,x\n")
    with pytest.raises(InputError, match=r"test\.csv: no column 'text'"):
        LabelledData("csv", tmp_path).splits()


def test_evaluation_labels_are_spelled_as_in_training(tmp_path):
    (tmp_path / "train.jsonl").write_text(
        '{"text": "a", "label": true}\n{"text": "b", "label": false}\n'
    )
    (tmp_path / "dev.json").write_text('[{"text": "c", "label": 1.0}, {"text": "d", "label": "0"}]')
    train, evaluation = LabelledData("jsonl", tmp_path).splits()
    problem = Classification.from_data(train, evaluation, ProblemOptions())
    assert problem.labels == ["false", "true"]
    metrics = problem.measure([[0.0, 1.0], [1.0, 0.0]], None, evaluation)
    assert metrics["accuracy"] == 1.0


def test_a_folder_of_another_form_is_named(tmp_path):
    write_table(tmp_path / "train.csv", [("a", 0), ("b", 1)])
    with pytest.raises(InputError, match=r"no train\.tsv; it holds train\.csv: give that"):
        LabelledData("tsv", tmp_path).splits()


def test_another_file_for_evaluation(tmp_path):
    write_table(tmp_path / "all.csv", [("a", 0), ("b", 1)])
    write_table(tmp_path / "other.csv", [("c", 1)])
    train, evaluation = LabelledData("csv", tmp_path / "all.csv").splits(tmp_path / "other.csv")
    assert (train.texts, evaluation.texts) == (["a", "b"], ["c"])


def test_sst2_labels_get_names(place):
    (place / "train.tsv").write_text("sentence\tlabel\nfine\t1\ndull\t0\n")
    (place / "dev.tsv").write_text("sentence\tlabel\nso so\t0\n")
    (place / "test.tsv").write_text("index\tsentence\n0\tno label\n")
    train, evaluation = LabelledData("sst2", place).splits()
    assert train == Examples(["fine", "dull"], ["positive", "negative"])
    assert evaluation == Examples(["so so"], ["negative"])
    with pytest.raises(InputError, match="no column 'label'"):
        LabelledData("sst2", place / "test.tsv").evaluation()


def write_reviews(directory, neg, pos):
    for label, texts in (("neg", neg), ("pos", pos)):
        (directory / label).mkdir(parents=True)
        for number, text in enumerate(texts):
            (directory / label / f"{number}.txt").write_text(text)


def test_imdb_in_the_stanford_layout(tmp_path):
    write_reviews(tmp_path / "train", ["bad<br /><br />film"], ["good film"])
    write_reviews(tmp_path / "test", ["awful"], ["nice", "fun"])
    train, evaluation = LabelledData("imdb", tmp_path).splits()
    assert train == Examples(["bad  film", "good film"], ["negative", "positive"])
    assert evaluation.texts == ["awful", "nice", "fun"]
    assert LabelledData("imdb", tmp_path).evaluation() == evaluation


def test_imdb_as_a_table(tmp_path):
    table = "label\tid\trating\ttext\n" + "".join(
        f"{i % 2}\t{i}\t{1 + 8 * (i % 2)}\treview {i}\n" for i in range(20)
    )
    (tmp_path / "train.tsv.gz").write_bytes(gzip.compress(table.encode()))
    train, evaluation = LabelledData("imdb", tmp_path).splits()
    assert (len(train.texts), len(evaluation.texts)) == (18, 2)
    assert set(train.labels) == {"negative", "positive"}
    assert LabelledData("imdb", tmp_path / "train.tsv.gz").splits() == (train, evaluation)


def test_movie_reviews_from_zip_and_folder_are_the_same(place):
    folder = place / "movie_reviews"
    write_reviews(folder, [f"bad {i}" for i in range(10)], [f"good {i}" for i in range(10)])
    archive = place / "movie_reviews.zip"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("movie_reviews/README", "not a review")
        for path in sorted(folder.rglob("*.txt")):
            file.writestr(str(path.relative_to(place)), path.read_bytes())
    archive.write_bytes(packed.getvalue())
    splits = LabelledData("movie_reviews", archive).splits()
    assert LabelledData("movie_reviews", folder).splits() == splits
    assert LabelledData("movie_reviews", place).splits() == splits
    assert Counter(splits[1].labels) == {"negative": 1, "positive": 1}
    # An archive is a folder in one file: its held-out part is what evaluation means.
    assert LabelledData("movie_reviews", archive).evaluation() == splits[1]


def test_damaged_or_empty_archives(tmp_path):
    path = tmp_path / "reviews.zip"
    path.write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="damaged or locked zip"):
        LabelledData("movie_reviews", path).splits()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("movie_reviews/neg/1.txt", "bad")
    with pytest.raises(InputError, match="no document under pos/"):
        LabelledData("movie_reviews", path).splits()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("neg/1.txt", b"caf\xe9")
    with pytest.raises(InputError, match=r"neg/1.txt: byte 0xe9 is not valid utf-8"):
        LabelledData("movie_reviews", path).splits()
    with pytest.raises(InputError, match="Python knows no such encoding"):
        LabelledData("movie_reviews", path, encoding="klingon").splits()


def test_missing_data_and_missing_label_folder(place):
    with pytest.raises(InputError, match="no such file or folder"):
        LabelledData("csv", place / "absent")
    (place / "neg").mkdir()
    (place / "neg" / "1.md").write_text("not a document")
    with pytest.raises(InputError, match=r"no folder neg/ with \.txt files"):
        LabelledData("movie_reviews", place).splits()


def test_labels_are_ordered_by_value_and_numbered():
    train = ["10", "2", "-1", "2"]
    names = label_names(train, train)
    assert names == ["-1", "2", "10"]
    assert label_ids(train, names).tolist() == [2, 1, 0, 1]
    for labels, expected in (
        (["b", "10"], ["10", "b"]),
        (["1", "01"], ["01", "1"]),
        (["²", "1"], ["1", "²"]),
    ):
        assert label_names(labels, labels) == expected


def test_one_label_only_and_a_label_unseen_in_training():
    train = ["x", "y"]
    with pytest.raises(InputError, match="all 2 training examples have the label 'x'"):
        label_names(["x", "x"], train)
    with pytest.raises(InputError, match=r"label 'z' of 1 evaluation examples is not .*\(x, y\)"):
        label_names(train, ["z"])
