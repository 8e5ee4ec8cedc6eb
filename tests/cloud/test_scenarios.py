"""`cloud_tpu.py run` from its beginning to its end, whatever happens in between."""

import json
import time

import pytest

TAKE_AWAY = 'echo PREEMPTED >"$FAKE_GCLOUD/node"; sleep 2'


def assert_nothing_is_left(cloud):
    assert cloud.tpu is None
    assert not (cloud.folder / "queue").exists()
    assert not cloud.remembered


@pytest.mark.parametrize("options", [(), ("--queued", "--spot")])
def test_success(cloud, options):
    cloud.happens(queue=["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
    done = cloud.run(*options)
    assert done.status == 0
    assert done.output == "update 1\nupdate 2\n"
    assert "about $4.80 an hour. An estimate" in done.said
    kind = "queued-resources" if options else "tpu-vm"
    (create,) = cloud.calls(kind, "create")
    assert "--accelerator-type=v5litepod-4" in create
    assert ("--spot" in create) == bool(options)
    assert all("--project=test-project" in call for call in cloud.calls("compute tpus"))
    (start,) = cloud.calls("tpu_job.sh start")
    assert "tfbert finetune --task sst2 --output gs://bucket/run" in " ".join(start)
    assert_nothing_is_left(cloud)


def test_the_package_is_whole_where_it_arrives(cloud):
    cloud.run("--keep")
    package = cloud.folder / "machine-0" / "tfbert-package"
    names = {path.name for path in package.iterdir()}
    assert names >= {"tfbert", "setup.cfg", "requirements-tpu.txt", "scripts"}
    assert (package / "tfbert" / "embedded" / "model" / "config.json").exists()
    assert not list(package.rglob("__pycache__"))


def test_no_capacity_then_success(cloud):
    cloud.happens(create=["no_capacity", "no_capacity", "ok"])
    done = cloud.run()
    assert done.status == 0
    assert "no free v5litepod-4; waiting" in done.said
    assert len(cloud.calls("tpu-vm create")) == 3
    assert_nothing_is_left(cloud)


def test_no_capacity_for_too_long(cloud):
    cloud.happens(create=["no_capacity"])
    done = cloud.run("--max-wait-hours", "0.0001")
    assert done.status == 1
    assert "had no free v5litepod-4 in time" in done.said
    assert_nothing_is_left(cloud)


@pytest.mark.parametrize("state", ["FAILED", "SUSPENDED"])
def test_a_queued_resource_that_fails(cloud, state):
    cloud.happens(queue=["WAITING_FOR_RESOURCES", state])
    done = cloud.run("--queued")
    assert done.status == 1
    assert f"the queued resource tfbert is {state}" in done.said
    (delete,) = cloud.calls("queued-resources delete")
    assert "--force" in delete
    assert_nothing_is_left(cloud)


@pytest.mark.parametrize("options", [(), ("--queued",)])
def test_preemption_in_mid_run(cloud, options):
    cloud.happens(program=[f"sleep 0.7; {TAKE_AWAY}", TAKE_AWAY, "echo third life"])
    done = cloud.run("--spot", *options)
    assert (done.status, done.output) == (0, "third life\n")
    assert "was taken away" in done.said
    starts = cloud.calls("tpu_job.sh start")
    assert len(starts) >= 3 and starts[0] == starts[-1]
    assert_nothing_is_left(cloud)


def test_preemption_while_it_is_set_up(cloud):
    cloud.happens(setup=["taken_away", "ok"])
    done = cloud.run("--spot")
    assert (done.status, done.output) == (0, "update 1\nupdate 2\n")
    assert "was taken away" in done.said
    assert_nothing_is_left(cloud)


def test_a_command_that_dies_with_its_machine_is_no_failure_of_its_own(cloud):
    dying = 'sleep 0.5; (sleep 0.1; echo TERMINATED >"$FAKE_GCLOUD/node") & exit 143'
    cloud.happens(program=[dying, "echo second life"])
    done = cloud.run()
    assert (done.status, done.output) == (0, "second life\n")
    assert_nothing_is_left(cloud)


def test_a_lost_connection_does_not_stop_the_command(cloud):
    cloud.happens(
        follow=["lost", "lost", "ok"],
        program=["for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.3; done"],
    )
    done = cloud.run()
    assert done.status == 0
    assert done.output == "".join(f"line {i}\n" for i in range(1, 9))
    assert "connecting again" in done.said
    assert len(cloud.calls("tpu_job.sh start")) == 1
    assert_nothing_is_left(cloud)


def test_a_command_that_vanishes_is_started_again(cloud):
    first = (
        'if [ -e "$HOME/seen" ]; then echo again; exit 0; fi; touch "$HOME/seen"; echo once; '
        "sleep 0.3; kill -9 $PPID"
    )
    cloud.happens(program=[first])
    done = cloud.run()
    assert (done.status, done.output) == (0, "once\nagain\n")
    assert_nothing_is_left(cloud)


@pytest.mark.parametrize("status", [1, 2])
def test_a_command_that_fails(cloud, status):
    cloud.happens(program=[f"echo wrong; exit {status}"])
    done = cloud.run()
    assert (done.status, done.output) == (status, "wrong\n")
    assert_nothing_is_left(cloud)


def test_a_machine_that_cannot_be_set_up(cloud):
    cloud.happens(setup=["internal"])
    done = cloud.run()
    assert done.status == 1
    assert "an internal error" in done.said
    assert_nothing_is_left(cloud)


def test_deleting_fails_once(cloud):
    cloud.happens(delete=["internal", "ok"])
    done = cloud.run()
    assert done.status == 0
    assert "deleting failed" in done.said
    assert_nothing_is_left(cloud)


def test_deleting_fails_for_good(cloud):
    cloud.happens(delete=["internal"])
    done = cloud.run()
    assert done.status == 1
    assert "THE TPU tfbert IS NOT DELETED" in done.said
    assert "gcloud compute tpus tpu-vm delete tfbert" in done.said
    assert cloud.tpu == "READY"
    assert cloud.remembered
    cloud.happens()
    assert cloud.script("delete").status == 0
    assert_nothing_is_left(cloud)


@pytest.mark.parametrize("step", ["create", "scp", "setup", "start", "follow", "delete"])
def test_ctrl_c(cloud, step):
    cloud.happens(interrupt=[step], program=["echo begun; sleep 3"])
    began = time.monotonic()
    done = cloud.run()
    if step == "delete":
        assert done.status == 0
        assert "this has to end first" in done.said
    else:
        assert done.status == 130
        assert time.monotonic() - began < 20  # the call of gcloud was not waited for
    assert_nothing_is_left(cloud)


def test_ctrl_c_in_the_queue(cloud):
    cloud.happens(interrupt=["queue"], queue=["WAITING_FOR_RESOURCES"])
    assert cloud.run("--queued").status == 130
    assert_nothing_is_left(cloud)


@pytest.mark.parametrize(("option", "value"), [("--max-hours", "0.0003"), ("--max-cost", "0.0015")])
def test_a_limit_is_reached(cloud, option, value):
    cloud.happens(program=["echo begun; sleep 4"])
    done = cloud.run(option, value, "--keep")
    assert done.status == 1
    assert f"{option} {value} is reached" in done.said
    assert_nothing_is_left(cloud)


def test_a_tpu_is_kept_on_demand(cloud):
    done = cloud.run("--keep")
    assert done.status == 0
    assert "tfbert stays and costs about $4.80 an hour" in done.said
    assert cloud.tpu == "READY"
    status = cloud.script("status")
    assert "tfbert, v5litepod-4, us-west4-a: READY" in status.output
    assert "ended 0" in status.output
    assert cloud.script("logs").output == "update 1\nupdate 2\n"
    assert cloud.script("fetch", str(cloud.folder / "here")).status == 0
    assert cloud.calls("storage rsync --recursive gs://bucket/run")
    assert cloud.script("delete").status == 0
    assert_nothing_is_left(cloud)


def test_a_run_goes_on_after_the_laptop_was_off(cloud):
    cloud.run("--keep")
    assert cloud.script("run").output == "update 1\nupdate 2\n"
    assert len(cloud.calls("tpu_job.sh start")) == 1
    assert_nothing_is_left(cloud)


def test_step_by_step(cloud):
    request = ["--accelerator-type", "v2-8", "--zone", "us-west4-a", "--yes"]
    assert cloud.script("create", *request).status == 0
    assert cloud.script("setup").status == 0
    assert cloud.script("train", "--detach", "--", "inspect", "gs://bucket/records").output == ""
    assert cloud.script("logs").output == "update 1\nupdate 2\n"
    assert cloud.tpu == "READY"
    assert cloud.script("delete").status == 0
    assert_nothing_is_left(cloud)


def test_a_pod_slice_is_driven_from_its_first_worker(cloud):
    cloud.happens(program=["echo $TPU_NAME $TPU_LOAD_LIBRARY"])
    request = ["--accelerator-type", "v5litepod-16", "--zone", "us-west4-a", "--yes"]
    done = cloud.script("run", *request, "--", "inspect", "gs://bucket/records")
    assert done.output == "tfbert 0\n"
    (create,) = cloud.calls("tpu-vm create")
    assert "--version=tpu-vm-tf-2.19.1-pod-pjrt" in create


def test_a_dry_run_prints_every_command_and_runs_none(cloud):
    done = cloud.run("--dry-run", "--queued")
    assert done.status == 0
    lines = done.output.splitlines()
    assert all(line.startswith("gcloud ") for line in lines)
    order = [
        "accelerator-types list",
        "queued-resources create",
        "scp",
        "setup_tpu_vm.sh",
        "tpu_job.sh start",
        "tpu_job.sh follow",
        "queued-resources delete",
    ]
    places = [next(i for i, line in enumerate(lines) if step in line) for step in order]
    assert places == sorted(places)
    assert cloud.calls() == []
    assert not cloud.remembered


def test_nobody_is_asked_without_a_terminal(cloud):
    request = ["--accelerator-type", "v5litepod-4", "--zone", "us-west4-a"]
    done = cloud.script("run", *request, "--", "inspect", "gs://bucket/records")
    assert done.status == 2
    assert "give --yes" in done.said
    assert cloud.calls("create") == []


def test_the_state_holds_what_a_later_command_needs(cloud):
    cloud.run("--keep", "--spot", "--price-per-hour", "2")
    path = cloud.folder / "config" / "tfbert" / "cloud" / "tfbert.json"
    state = json.loads(path.read_text())
    assert state["price_per_hour"] == 2
    assert state["command"][:3] == ["finetune", "--task", "sst2"]
