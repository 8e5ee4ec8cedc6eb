"""What `cloud_tpu.py` refuses, each in one line, before anything costs."""

import shutil
from pathlib import Path

import pytest

from tfbert.cloud.checks import output_of


def refusal(done):
    """The only error line of a command that ended with status 2."""
    assert done.status == 2, done.said
    (line,) = [line for line in done.said.splitlines() if "error:" in line]
    return line


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ({"project": ["(unset)"]}, "no Google Cloud project is chosen"),
        ({"types": ["no_project"]}, "no Google Cloud project is chosen"),
        ({"types": ["wrong_project"]}, "the project test-project does not exist or is not yours"),
        ({"types": ["no_login"]}, "run `gcloud auth login`"),
        ({"types": ["disabled"]}, "gcloud services enable tpu.googleapis.com"),
        ({"types": ["no_zone"]}, "us-west4-a has no such TPU, or is no zone"),
        ({"types": ["v2-8 v3-8"]}, "us-west4-a has no v5litepod-4; of v5litepod it has none"),
        ({"bucket": ["EUROPE-WEST4"]}, "gs://bucket is in europe-west4 and the TPU in us-west4"),
        ({"bucket": ["EU"]}, "gs://bucket is in eu and"),
        ({"bucket": ["no_bucket"]}, "gs://bucket: there is no such bucket"),
    ],
)
def test_before_anything_is_asked_for(cloud, scenario, message):
    cloud.happens(**scenario)
    assert message in refusal(cloud.run())
    assert cloud.calls("create") == []
    assert not cloud.remembered


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        ("quota", "the quota of project test-project has no room for this TPU in us-west4-a", ()),
        ("quota", "the quota of project test-project has no room", ("--queued",)),
        ("no_type", "us-west4-a has no such TPU", ()),
        ("no_runtime", "there is no such --runtime-version in us-west4-a", ()),
    ],
)
def test_when_it_is_asked_for(cloud, error, message, options):
    cloud.happens(create=[error])
    assert message in refusal(cloud.run(*options))
    assert cloud.tpu is None
    assert not cloud.remembered


def test_a_bucket_of_the_whole_continent_is_near_enough(cloud):
    cloud.happens(bucket=["US"])
    assert cloud.run().status == 0


def test_a_far_bucket_on_demand(cloud):
    cloud.happens(bucket=["EU"])
    assert cloud.run("--any-region").status == 0


@pytest.mark.parametrize("known", [True, False])
def test_a_tpu_that_is_anothers_is_never_deleted(cloud, known):
    if known:
        (cloud.folder / "node").write_text("READY")
    else:
        cloud.happens(create=["exists"])
    assert "which was not made here" in refusal(cloud.run())
    assert cloud.calls("delete") == []


def test_no_gcloud(cloud):
    (cloud.folder / "bin" / "gcloud").unlink()
    if shutil.which("gcloud"):
        pytest.skip("gcloud is installed here")
    assert "gcloud is not on PATH" in refusal(cloud.run())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--zone", "z"], "--accelerator-type must be given"),
        (["run", "--accelerator-type", "v2-8"], "--zone must be given"),
        (["run", "--accelerator-type", "v2-8", "--zone", "z"], "no tfbert command"),
        (["run", "--name", "Not/a name", "--accelerator-type", "v2-8", "--zone", "z"], "--name"),
        (["status"], "no TPU of that name was made from here"),
        (["delete", "--name", "other"], "--name other: no TPU"),
        (["logs", "--", "inspect"], "logs takes no tfbert command"),
    ],
)
def test_wrong_words(cloud, arguments, message):
    assert message in refusal(cloud.script(*arguments))


def test_output_that_would_vanish(cloud):
    done = cloud.run(command=["--", "finetune", "--output", "runs/a"])
    assert "--output runs/a: the TPU's disk vanishes" in refusal(done)
    assert cloud.calls("create") == []


def test_a_name_is_used_once(cloud):
    cloud.run("--keep")
    assert "was asked for already" in refusal(cloud.run())
    done = cloud.script("run", "--", "inspect", "gs://bucket/records")
    assert "was made for another command" in refusal(done)


def test_a_damaged_state_is_named(cloud):
    path = Path(cloud.environment["XDG_CONFIG_HOME"]) / "tfbert" / "cloud" / "tfbert.json"
    path.parent.mkdir(parents=True)
    for content in ("{", '{"name": "a"}'):
        path.write_text(content)
        assert "damaged" in refusal(cloud.script("status"))


def test_the_output_is_found_in_either_form():
    assert output_of(["finetune", "--output", "gs://a"]) == "gs://a"
    assert output_of(["finetune", "--output=gs://a"]) == "gs://a"
    assert output_of(["inspect", "gs://a"]) is None
