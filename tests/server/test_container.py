"""The container: its files agree with the service, and its command runs without privileges and writes to /data only.

Where Docker is missing, the steps of the image are run here: the same environment variables, entry point and health
check, as another user and on a read-only file system.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml

from instantstyle.server import Limits
from instantstyle.server.auth import KEYS_VARIABLE

from .test_auth import ADA, bearer

CONTAINER = Path(__file__).parents[2] / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["services"]["instantstyle"]
TIMEOUT = 300

# The root becomes read-only, and /mnt the folder of the data, for one process without privileges.
ISOLATED = """
mount --bind "$1" /mnt && mount -o remount,bind,ro / && shift &&
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs "$@"
"""


def read_instruction(name: str) -> str:
    """Return the argument of the last instruction of this name, with continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"^{name} (.*)$", joined, re.MULTILINE)[-1]


def read_variables() -> dict[str, str]:
    """Return the environment variables of the image."""
    return dict(pair.split("=", 1) for pair in shlex.split(read_instruction("ENV")))


def test_what_is_copied_into_the_image_exists_and_is_not_ignored():
    root = CONTAINER.parent
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    }
    kept = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept
    assert [name for name in copied if not (root / name).exists()] == []


def test_compose_makes_what_the_image_does_not_write_read_only():
    assert COMPOSE["read_only"] is True
    assert COMPOSE["volumes"] == ["data:/data"]
    assert read_instruction("VOLUME") == "/data"
    assert read_instruction("USER") != "0"
    written = [value for name, value in read_variables().items() if value.startswith("/") and name != "PATH"]
    assert [value for value in written if not value.startswith("/data")] == []
    assert float(COMPOSE["stop_grace_period"].removesuffix("s")) > Limits.grace_seconds
    assert KEYS_VARIABLE in COMPOSE["environment"]


def test_a_device_is_chosen_when_the_container_starts_and_not_when_it_is_built():
    assert COMPOSE["environment"]["DEVICE"] == "${DEVICE:-cpu}"
    assert read_variables()["DEVICE"] == "${DEVICE}"
    assert json.loads(read_instruction("ENTRYPOINT"))[2].count('--device "$DEVICE"') == 1
    assert COMPOSE["build"]["args"].keys() & read_variables().keys() == set()


@contextmanager
def start(arguments: list[str], keys: str, folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run the image's entry point with a folder in place of /data and another port in place of 8000."""
    data = folder / "data"
    data.mkdir()
    entry = json.loads(read_instruction("ENTRYPOINT"))
    variables = read_variables()
    place = "/mnt" if can_isolate() else str(data)
    values = {name: value.replace("/data", place) for name, value in variables.items() if name != "PATH"}
    values |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", KEYS_VARIABLE: keys, "TMPDIR": place}
    values |= {"DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    command = [part.replace("/data", place).replace("8000", str(port)) for part in entry] + arguments
    if can_isolate():
        os.chown(data, 10001, 10001)
        command = ["unshare", "--mount", "sh", "-c", ISOLATED, "sh", str(data), *command]
    with subprocess.Popen(command, env=values, cwd="/", stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def can_isolate() -> bool:
    """Return whether this user may make a file system read-only for a process, and another user read this Python."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    # A shell starts it, as in the image: its interpreter may be in a folder of root's.
    shell = ["sh", "-c", '"$@"', "sh", sys.executable, "-c", "import instantstyle"]
    probe = ["unshare", "--mount", "sh", "-c", ISOLATED, "sh", "/tmp", *shell]
    return subprocess.run(probe, capture_output=True, cwd="/").returncode == 0


def check_health(port: int) -> int:
    """Run the image's health check; returns its exit status."""
    _, _, command = read_instruction("HEALTHCHECK").partition("CMD ")
    arguments = json.loads(command.replace("8000", str(port)))[1:]
    return subprocess.run([sys.executable, *arguments], capture_output=True).returncode


@pytest.fixture
def port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.slow
def test_the_entry_point_serves_images_and_the_health_check_sees_it(tmp_path, port):
    assert check_health(port) != 0
    with start(["--model", "mini"], ADA, tmp_path, port) as process:
        deadline = time.monotonic() + TIMEOUT
        while check_health(port) != 0:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        body = {"prompt": "a rocket", "num_inference_steps": 2}
        url = f"http://127.0.0.1:{port}/v1/images/generations"
        assert httpx2.post(url, json=body, timeout=TIMEOUT).status_code == 401
        assert httpx2.post(url, json=body, headers=bearer(ADA), timeout=TIMEOUT).status_code == 200
        if can_isolate():
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE)
            assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert check_health(port) != 0


@pytest.mark.slow
def test_the_entry_point_refuses_to_start_without_keys(tmp_path, port):
    with start([], "", tmp_path, port) as process:
        _, message = process.communicate(timeout=TIMEOUT)
    assert process.returncode != 0
    assert "it has no API key" in message
