"""Apache Kafka's jars: named with their SHA-256 in kafka.lock, fetched once by jgo, then cached.

The lock was written by jgo's resolution of the coordinates in `ENDPOINTS` (see `write_lock`);
fetching by the lock skips that resolution, gives every machine the same bytes, and a later start
needs no network. The cache is shared by all data folders: ``$PLANTSTREAM_CACHE``, or
``$XDG_CACHE_HOME/plantstream``, or ``~/.cache/plantstream``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from app.embedded.errors import StackError

KAFKA_VERSION = "4.3.1"
ENDPOINTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
LOCK = Path(__file__).with_name("kafka.lock")
_DOWNLOADS_AT_ONCE = 8
_ATTEMPTS = 3
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Jar:
    """One locked file: its Maven coordinates, bytes and SHA-256."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def cache_root() -> Path:
    """The folder for files that all data folders share."""
    if own := os.environ.get("PLANTSTREAM_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "plantstream"


def read_lock(lock: Path = LOCK) -> list[Jar]:
    """The locked jars, in class path order."""
    jars = []
    for line in lock.read_text().splitlines():
        if line and not line.startswith("#"):
            coordinates, size, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, int(size), sha256))
    return jars


def kafka_classpath(
    progress: Callable[[str], None] = lambda _: None,
    *,
    lock_file: Path = LOCK,
    remotes: dict[str, str] | None = None,
) -> list[Path]:
    """The jars of Kafka on this machine, fetched from Maven Central if they are not here yet.

    ``remotes`` (name to address) replaces Maven Central and the repositories of jgo's settings.
    Raises `StackError` when a file cannot be fetched or is not the locked one.
    """
    jars = read_lock(lock_file)
    folder = cache_root() / f"kafka-{KAFKA_VERSION}"
    if not _missing(folder, jars):
        return [folder / jar.filename for jar in jars]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another first start may be fetching: wait for it
        missing = _missing(folder, jars)
        if missing:
            megabytes = sum(jar.size for jar in missing) / 1e6
            progress(f"fetching Apache Kafka {KAFKA_VERSION}: {megabytes:.0f} MB, once")
            _fetch_all(missing, folder, remotes or _remotes(), progress)
    return [folder / jar.filename for jar in jars]


def _missing(folder: Path, jars: list[Jar]) -> list[Jar]:
    """Jars that are not there whole. Contents were verified before they got their name."""
    return [
        jar
        for jar in jars
        if not (folder / jar.filename).is_file()
        or (folder / jar.filename).stat().st_size != jar.size
    ]


def _remotes() -> dict[str, str]:
    """Maven Central and the repositories that the user named in jgo's settings."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL

    return {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}


def _fetch_all(
    jars: list[Jar], folder: Path, remotes: dict[str, str], progress: Callable[[str], None]
) -> None:
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as scratch,
        ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool,
    ):
        fetches = [pool.submit(_fetch, jar, Path(scratch), folder, remotes) for jar in jars]
        try:
            for number, fetch in enumerate(as_completed(fetches), 1):
                fetch.result()
                progress(f"fetching Apache Kafka {KAFKA_VERSION}: {number} of {len(jars)} files")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(jar: Jar, scratch: Path, folder: Path, remotes: dict[str, str]) -> None:
    """Fetch one jar by jgo into a scratch repository, verify it, and move it into place."""
    import stamina
    from jgo.maven import MavenContext

    attempts = iter(range(_ATTEMPTS))

    @stamina.retry(on=Exception, attempts=_ATTEMPTS, wait_initial=0.2, timeout=None)
    def download() -> Path:
        context = MavenContext(
            repo_cache=scratch / f"{jar.artifact}-{next(attempts)}",
            remote_repos=remotes,
            timeout=_TIMEOUT_S,
        )
        component = context.project(jar.group, jar.artifact).at_version(jar.version)
        path: Path = component.artifact().resolve()
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != jar.sha256:
            raise StackError(f"its SHA-256 is {found}, locked is {jar.sha256}")
        return path

    try:
        download().replace(folder / jar.filename)
    except Exception as error:
        raise StackError(
            f"cannot fetch {jar.group}:{jar.artifact}:{jar.version} "
            f"from {', '.join(remotes.values())}: {error}"
        ) from error


def write_lock(lock: Path = LOCK) -> None:
    """Resolve `ENDPOINTS` anew by jgo and write the lock; for maintainers, `make lock`."""
    import jgo

    seen: dict[str, str] = {}
    for endpoint in ENDPOINTS:
        for artifact in jgo.resolve(endpoint):
            coordinates = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            key = f"{artifact.groupId}:{artifact.artifactId}"
            if key not in seen:
                data = artifact.resolve().read_bytes()
                seen[key] = f"{coordinates} {len(data)} {hashlib.sha256(data).hexdigest()}"
    head = "# group:artifact:version bytes sha256 - written by `make lock`, read by kafka_jars.py\n"
    lock.write_text(head + "".join(f"{line}\n" for line in seen.values()))


if __name__ == "__main__":
    if sys.argv[1:] == ["--clear-cache"]:
        shutil.rmtree(cache_root(), ignore_errors=True)
    else:
        write_lock()
