import sys
import types

import numpy as np
import pytest

from tfbert.errors import InputError
from tfbert.text.corpus import read_documents
from tfbert.text.tensorflow_datasets import read_texts


class Text:
    """Stands for `tfds.features.Text`."""


class NotFound(ValueError):
    """Stands for `tfds.core.DatasetNotFoundError`."""


class Builder:
    """Stands for a builder of tensorflow-datasets: two splits of three examples."""

    def __init__(self, features):
        self.info = types.SimpleNamespace(features=features)

    def download_and_prepare(self):
        self.ready = True

    def as_dataset(self, split, shuffle_files):
        assert self.ready and not shuffle_files
        if split not in ("train", "test"):
            raise ValueError(f"Unknown split '{split}'.\nShould be one of train, test")
        examples = [
            {name: f"{split} {name} {i}.\nNext line. é".encode() for name in self.info.features}
            for i in range(3)
        ]
        return types.SimpleNamespace(as_numpy_iterator=lambda: iter(examples))


@pytest.fixture
def stand_in(monkeypatch):
    sets = {
        "reviews": {"label": object(), "title": Text(), "text": Text()},
        "questions/short": {"answer": object(), "question": Text()},
        "pictures": {"image": object(), "label": object()},
    }

    def builder(name):
        if name not in sets:
            raise NotFound(f"Dataset {name} not found.\nAvailable: ...")
        return Builder(sets[name])

    module = types.ModuleType("tensorflow_datasets")
    module.builder = builder
    module.features = types.SimpleNamespace(Text=Text)
    module.core = types.SimpleNamespace(DatasetNotFoundError=NotFound)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)


def test_texts_by_name_configuration_and_split(stand_in):
    assert list(read_texts("reviews"))[2] == "train text 2.\nNext line. é"
    assert next(read_texts("reviews:test")).startswith("test text 0.")
    assert next(read_texts("questions/short")).startswith("train question 0.")


@pytest.mark.parametrize("form", ["line", "blank", "file"])
def test_an_example_is_a_document(stand_in, form):
    parts = list(read_documents(["tfds:reviews"], form))
    assert [part.document for part in parts] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "tfds:nothing: Dataset nothing not found.$"),
        ("pictures", "tfds:pictures: has no text; it holds image, label"),
        ("reviews:dev", "tfds:reviews: Unknown split 'dev'.$"),
    ],
)
def test_sets_that_are_not_there(stand_in, name, message):
    with pytest.raises(InputError, match=message):
        list(read_texts(name))


def test_without_tensorflow_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r"pip install 'tfbert\[datasets\]'"):
        list(read_texts("imdb_reviews"))


def test_the_real_library():
    """With the extra installed: the stand-in above is like it."""
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the `datasets` extra")
    with tfds.testing.mock_data(num_examples=2):
        texts = list(read_texts("imdb_reviews:test"))
        assert len(texts) == 2 and all(isinstance(text, str) for text in texts)
        with pytest.raises(InputError, match="has no text"):
            list(read_texts("mnist"))
    with pytest.raises(InputError, match="no_such_set not found"):
        list(read_texts("no_such_set"))


def test_long_examples_come_in_parts(stand_in, monkeypatch):
    monkeypatch.setattr("tfbert.text.corpus.LONGEST_PART", 10)
    parts = list(read_documents(["tfds:reviews"], "line"))
    assert np.unique([part.document for part in parts]).tolist() == [0, 1, 2]
    assert len(parts) > 6
