"""Faces to a real Label Studio and back: ``python scripts/label_studio_round_trip.py [--label-studio PROGRAM]``.

Label Studio is installed in an environment of its own, as its many dependencies would not suit ours::

    python -m venv /tmp/label-studio && /tmp/label-studio/bin/pip install label-studio
    python scripts/label_studio_round_trip.py --label-studio /tmp/label-studio/bin/label-studio

It is started on 127.0.0.1 with a new SQLite database in a temporary folder, its analytics, error reports and version
check switched off, and stopped at the end. The steps are those of docs/annotation.md: a table of the example photos,
tasks from it, a project with our labelling configuration that asks two annotators about each task, the tasks imported
over the API, each user given one task after the other and annotating it, the project exported as JSON, and read back.
"""

import argparse
import http.cookiejar
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples"
REGIONFER = (sys.executable, "-m", "regionfer", "annotate")
START_SECONDS = 300
"""The first start makes the database, which takes a minute or more."""

QUIET = {
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
}


class User:
    """Somebody who signed up, and calls the API as the web page does."""

    def __init__(self, address: str, email: str) -> None:
        self.email = email
        self._address = address
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self._send("/user/signup/")
        form = {"email": email, "password": f"secret of {email}", "csrfmiddlewaretoken": self._csrf()}
        self._send("/user/signup/", urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded")
        self.number: int = self.get("/api/current-user/whoami")["id"]

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        """What is at a path."""
        return self._send(path)

    def post(self, path: str, value: Any) -> Any:
        """Send JSON, and return the JSON that is answered."""
        return json.loads(self._send(path, json.dumps(value).encode(), "application/json"))

    def _csrf(self) -> str:
        return next(cookie.value or "" for cookie in self._cookies if cookie.name == "csrftoken")

    def _send(self, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        request = urllib.request.Request(self._address + path, data=body)
        if body is not None:
            headers = {"Content-Type": kind, "X-CSRFToken": self._csrf(), "Referer": self._address}
            for name, value in headers.items():
                request.add_header(name, value)
        try:
            with self._opener.open(request, timeout=120) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.code}: {error.read()[:2000].decode(errors='replace')}") from error


@contextmanager
def label_studio(program: str, folder: Path, served: Path) -> Iterator[str]:
    """Run a server; gives its address.

    Args:
        program: the program ``label-studio``.
        folder: for its database and settings.
        served: the folder below which it may serve local files.
    """
    folder.mkdir(parents=True)
    port = _free_port()
    own = {
        "HOME": str(folder),
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(served),
    }
    command = [program, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=os.environ | QUIET | own, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(server, address, folder / "server.log")
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=60)


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def _wait(server: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=10):
                return
        except OSError:
            time.sleep(1)
    raise RuntimeError(
        f"Label Studio did not start within {START_SECONDS} s: {log.read_text(errors='replace')[-2000:]}"
    )


def make_project(user: User, folder: Path, *, annotators: int = 1) -> int:
    """A project with the configuration and the tasks of a folder that ``regionfer annotate export`` wrote.

    Args:
        user: who makes it.
        folder: with the tasks.
        annotators: to how many people each task is given.
    """
    config = (folder / "labelling.xml").read_text(encoding="utf-8")
    settings = {"title": folder.name, "label_config": config, "maximum_annotations": annotators}
    project: int = user.post("/api/projects", settings)["id"]
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    if any(task["data"]["image"].startswith("/data/local-files/") for task in tasks):
        storage = {"project": project, "path": str(folder / "pictures"), "use_blob_urls": True}
        user.post("/api/storages/localfiles", storage)
    answer = user.post(f"/api/projects/{project}/import?return_task_ids=true", tasks)
    assert answer["task_count"] == len(tasks), answer
    assert answer["prediction_count"] == sum(len(task["predictions"]) for task in tasks), answer
    return project


def tasks_of(user: User, project: int) -> list[Mapping[str, Any]]:
    """The tasks of a project in the order in which annotators see them, with their predictions."""
    page: list[Mapping[str, Any]] = user.get(f"/api/tasks?project={project}&page_size=1000&fields=all")["tasks"]
    return sorted(page, key=lambda task: task["id"])


def next_task(user: User, project: int) -> int:
    """The task that the page gives to an annotator who presses Label All Tasks."""
    number: int = user.get(f"/api/projects/{project}/next")["id"]
    return number


def annotate(user: User, task: int, chosen: Mapping[str, list[str]]) -> None:
    """Submit choices by question, as the page does when an annotator presses Submit."""
    result = [
        {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": answers}}
        for name, answers in chosen.items()
    ]
    user.post(f"/api/tasks/{task}/annotations/", {"result": result, "lead_time": 4.2})


def export(user: User, project: int, path: Path) -> None:
    """Download the JSON export."""
    path.write_bytes(user.read(f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true"))


PLAIN = {"expression": ["happiness"], "occlusion": ["none"], "pose_bin": ["0-30"]}
MASKED = {"expression": ["fear"], "occlusion": ["mask"], "place": ["lower"], "pose_bin": ["0-30"]}
TURNED = {"expression": ["fear"], "occlusion": ["mask", "glasses"], "place": ["lower", "upper"], "pose_bin": [">45"]}
UNUSABLE = {"unusable": ["unusable"]}
SAID = ((PLAIN, PLAIN), (MASKED, TURNED), (MASKED, MASKED), (PLAIN, UNUSABLE))
"""What the two users say of one face after the other, from the start again after the last."""


def round_trip(program: str, folder: Path, *, pictures: str = "embedded") -> Path:
    """All steps; the file of labels by hand.

    Args:
        program: the program ``label-studio``.
        folder: where everything goes.
        pictures: as of ``regionfer annotate export``.
    """
    tasks_folder = folder / f"faces-{pictures}"
    table = folder / "faces.parquet"
    _run(str(EXAMPLES), "--out", str(table))
    options = ("--to", "label-studio", "--out", str(tasks_folder), "--pictures", pictures, "--sample", "8")
    _run("export", str(table), *options)
    with label_studio(program, folder / f"label-studio-{pictures}", served=folder) as address:
        users = [User(address, f"{name}@example.org") for name in ("first", "second")]
        project = make_project(users[0], tasks_folder, annotators=len(users))
        tasks = tasks_of(users[0], project)
        _check_tasks(users[0], tasks, json.loads((tasks_folder / "tasks.json").read_text(encoding="utf-8")))
        numbers = {task["id"]: number for number, task in enumerate(tasks)}
        for who, user in enumerate(users):
            for _ in tasks:
                task = next_task(user, project)
                annotate(user, task, SAID[numbers[task] % len(SAID)][who])
        exported = folder / f"export-{pictures}.json"
        export(users[0], project, exported)
    labels = folder / f"labels-{pictures}.csv"
    _run("import", str(exported), "--table", str(table), "--out", str(labels))
    return labels


def _predicted(task: Mapping[str, Any]) -> list[Any]:
    """Score and answers of each prediction of a task."""
    return [(each["score"], [result["value"] for result in each["result"]]) for each in task["predictions"]]


def _check_tasks(user: User, found: list[Mapping[str, Any]], sent: list[Mapping[str, Any]]) -> None:
    """Label Studio has what was sent, in that order, and gives the pictures out."""
    assert [task["data"] for task in found] == [task["data"] for task in sent]
    for one, other in zip(found, sent, strict=True):
        assert _predicted(one) == _predicted(other)
    address = found[0]["data"]["image"]
    if address.startswith("/"):
        assert user.read(address)[:3] == b"\xff\xd8\xff", "expected a JPEG"


def _run(*arguments: str) -> None:
    print("$ regionfer annotate", *arguments, flush=True)
    subprocess.run([*REGIONFER, *arguments], check=True)


def main() -> None:
    """Go round, and print what comes back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label-studio", default="label-studio", help="the program; found on the PATH if not given")
    parser.add_argument("--pictures", choices=["embedded", "files"], default="embedded")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        labels = round_trip(arguments.label_studio, Path(folder), pictures=arguments.pictures)
        print(labels.read_text(encoding="utf-8"))
        print(labels.with_suffix(".disagreements.csv").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
