"""A stand-in for gcloud: one TPU in a folder, its machine a home directory on this one.

Run as a program, so often that it imports as little as it can. `FAKE_GCLOUD` names the folder:
`scenario.json` says what happens, `calls` gets every call, `node` and `queue` hold the states of
the TPU and of the queued resource.

A scenario maps a command (`create`, `queue`, `delete`, `follow`, `setup`, `bucket`, `types`, ...)
to the outcomes of its calls, one after the other; the last one stays. `interrupt` is a command
whose first call presses Ctrl-C.
"""

import json
import os
import sys
import time

FOLDER = os.environ["FAKE_GCLOUD"]
# In gcloud's words.
ERRORS = {
    "no_capacity": 'There is no more capacity in the zone "us-west4-a"; you can try in another',
    "quota": "Quota limit 'TPUV5sPreemptiblePerProjectPerZoneForTPUAPI' has been exceeded.",
    "no_project": "The required property [project] is not currently set.",
    "wrong_project": "PERMISSION_DENIED: Permission denied on resource project nobody.",
    "no_login": "You do not currently have an active account selected.",
    "disabled": "PERMISSION_DENIED: Cloud TPU API has not been used in project 1 before or it is "
    "disabled.",
    "no_zone": "PERMISSION_DENIED: Permission denied on 'locations/us-west9-z' (or it may not "
    "exist).",
    "no_type": "INVALID_ARGUMENT: Cloud TPU received a bad request. the accelerator v3-8 was not "
    "found in zone us-west4-a",
    "no_runtime": "INVALID_ARGUMENT: the runtime version tpu-vm-x was not found",
    "exists": "ALREADY_EXISTS: Resource 'projects/p/locations/z/nodes/tfbert' already exists",
    "no_bucket": "gs://bucket not found: 404.",
    "internal": "INTERNAL: an internal error has occurred",
    "not_found": "NOT_FOUND: Resource 'projects/p/locations/z/nodes/tfbert' was not found",
    "ssh": "[/usr/bin/ssh] exited with return code [255].",
}


def fail(kind):
    print(f"ERROR: (gcloud.compute.tpus) {ERRORS[kind]}", file=sys.stderr)
    sys.exit(255 if kind == "ssh" else 1)


def read(name):
    """A file of the folder, None if it is not there."""
    try:
        with open(f"{FOLDER}/{name}") as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def write(name, text):
    with open(f"{FOLDER}/{name}", "w") as file:
        file.write(text)


def outcome(command, default="ok"):
    """What this call of a command is to do."""
    outcomes = json.loads(read("scenario.json")).get(command, [default])
    count = int(read(f"count-{command}") or 0)
    write(f"count-{command}", str(count + 1))
    return outcomes[min(count, len(outcomes) - 1)]


def press_ctrl_c(command):
    if outcome("interrupt", None) == command and read("pressed") is None:
        write("pressed", "")
        os.kill(os.getppid(), 2)
        if command != "delete":
            time.sleep(30)  # until it is ended


def new_machine():
    write("node", "READY")
    machine = int(read("machines") or 0)
    write("machines", str(machine + 1))
    os.mkdir(f"{FOLDER}/machine-{machine}")


def home():
    return f"{FOLDER}/machine-{int(read('machines')) - 1}"


def create():
    if (kind := outcome("create")) != "ok":
        fail(kind)
    new_machine()


def queue_describe():
    if read("queue") is None:
        fail("not_found")
    state = outcome("queue", "ACTIVE")
    if state == "ACTIVE" and read("node") is None:
        new_machine()
    print(state)


def delete():
    if (kind := outcome("delete")) != "ok":
        fail(kind)
    there = [name for name in ("node", "queue") if read(name) is not None]
    if not there:
        fail("not_found")
    for name in there:
        os.remove(f"{FOLDER}/{name}")


def describe():
    if read("node") is None:
        fail("not_found")
    print(read("node"))


def ssh(command):
    import shlex
    import subprocess

    if read("node") != "READY":
        fail("ssh")
    if "setup_tpu_vm.sh" in command:
        kind = outcome("setup")
        if kind == "taken_away":
            write("node", "PREEMPTED")
            fail("ssh")
        if kind != "ok":
            fail(kind)
        # All of it but the last step, the installation.
        unpack = shlex.split(command)[2].rpartition(" && ")[0]
        subprocess.run(["bash", "-c", unpack], cwd=home(), check=True)
        program = f"{home()}/tfbert-venv/bin/tfbert"
        os.makedirs(os.path.dirname(program))
        with open(program, "w") as file:
            file.write("#!/bin/bash\n" + outcome("program", "echo update 1; echo update 2"))
        os.chmod(program, 0o755)
        return 0
    lost = "follow" in command and outcome("follow") == "lost"
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=home(), env={**os.environ, "HOME": home()}
    )
    began = time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        if read("node") != "READY" or (lost and time.monotonic() - began > 0.5):
            subprocess.run(["pkill", "-P", str(process.pid)])
            process.kill()
            return 255
    return process.returncode


def main(arguments):
    with open(f"{FOLDER}/calls", "a") as calls:
        calls.write(json.dumps(arguments) + "\n")
    words = [word for word in arguments if not word.startswith("-")]
    options = dict(word.partition("=")[::2] for word in arguments if word.startswith("--"))
    kind, verb = words[-2:] if words[0] != "compute" else words[2:4]
    status, name = 0, verb
    if words[:2] == ["config", "get-value"]:
        print(outcome("project", "test-project"))
    elif words[:3] == ["storage", "buckets", "describe"]:
        place = outcome("bucket", "US-WEST4")
        fail(place) if place in ERRORS else print(place)
    elif words[:2] == ["storage", "rsync"]:
        os.mkdir(words[3])
    elif kind == "accelerator-types":
        offered = outcome("types", "v5litepod-4 v5litepod-16 v2-8")
        fail(offered) if offered in ERRORS else print(offered.replace(" ", "\n"))
    elif (kind, verb) == ("queued-resources", "create"):
        if (kind := outcome("create")) != "ok":
            fail(kind)
        write("queue", "")
    elif (kind, verb) == ("queued-resources", "describe"):
        queue_describe()
        name = "queue"
    elif verb == "create":
        create()
    elif verb == "delete":
        delete()
    elif verb == "describe":
        describe()
    elif verb == "scp":
        os.link(words[4], f"{home()}/{words[5].partition(':')[2]}")
    elif verb == "ssh":
        command = options["--command"]
        name = next((w for w in ("setup", "start", "follow", "status") if w in command), "ssh")
        press_ctrl_c(name)
        status = ssh(command)
    else:
        fail("internal")
    press_ctrl_c(name)
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
