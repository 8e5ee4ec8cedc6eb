import sys
import zipfile
from types import SimpleNamespace

import pytest

import tfbert
from tfbert.errors import InputError
from tfbert.notebook.keeping import keep_model


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """A stand-in for Colab's module; what it was asked for is in `asked`."""
    asked = []
    files = SimpleNamespace(download=lambda path: asked.append(("download", path)))

    def mount(path):
        asked.append(("mount", path))
        (tmp_path / "drive" / "MyDrive").mkdir(parents=True)

    drive = SimpleNamespace(mount=mount)
    for name, module in {"google.colab.files": files, "google.colab.drive": drive}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(files=files, drive=drive))
    return asked


def test_the_zip_holds_a_model_that_opens(saved_run, small_classifier, tmp_path):
    line = keep_model(saved_run, "sentiment")
    path = saved_run.parent / "sentiment.zip"
    assert line.startswith(f"{path} (") and "load_model('sentiment')" in line
    with zipfile.ZipFile(path) as packed:
        packed.extractall(tmp_path)
    opened = tfbert.load_model(str(tmp_path / "sentiment"))
    texts = ["good", "a bad film"]
    found, expected = (tfbert.predict_texts(each, texts) for each in (opened, small_classifier))
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    assert found[0]["probability"] == pytest.approx(expected[0]["probability"], abs=1e-6)


def test_in_colab_the_browser_downloads_it(saved_run, colab):
    keep_model(saved_run, "sentiment")
    assert colab == [("download", str(saved_run.parent / "sentiment.zip"))]


def test_on_google_drive(saved_run, colab, tmp_path):
    drive = tmp_path / "drive"
    line = keep_model(saved_run, "sentiment", "drive", drive)
    assert colab == [("mount", str(drive))]
    assert line.startswith(str(drive / "MyDrive" / "sentiment.zip"))
    assert zipfile.is_zipfile(drive / "MyDrive" / "sentiment.zip")


def test_what_cannot_be_kept_is_one_line(saved_run, tmp_path):
    with pytest.raises(InputError, match="only Colab can mount Google Drive"):
        keep_model(saved_run, "sentiment", "drive")
    with pytest.raises(InputError, match="there is no model/ in it"):
        keep_model(tmp_path, "sentiment")
