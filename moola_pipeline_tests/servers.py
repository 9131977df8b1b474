"""A PostgreSQL server and an S3-compatible server on loopback, for tests of shared stores."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": token_hex(12),
    "AWS_DEFAULT_REGION": "us-east-1",
}
PASSWORD = token_hex(12)
"""Random, so that tests can search all outputs for it; the server accepts any."""


def postgres_programs() -> Path | None:
    """The folder of initdb and pg_ctl: on PATH, or Debian's."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


@contextmanager
def postgres(port: int) -> Iterator[str]:
    """A new server; yields its address without a database name. Skips if PostgreSQL is not installed."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    owner = "nobody" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    # not in pytest's folder, which other users cannot enter
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if owner:
            shutil.chown(folder, owner)

        def pg(program: str, *words: str) -> None:
            command = [str(programs / program), "-D", str(folder / "cluster"), *words]
            # not a pipe: the server would keep it open
            output = folder / f"{program}.log"
            with output.open("w") as log:
                done = subprocess.run(command, stdout=log, stderr=log, cwd=folder, timeout=60, user=owner)
            assert done.returncode == 0, f"{program}: {output.read_text()}"

        pg("initdb", "--username=moola", "--auth=trust", "--encoding=UTF8", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        pg("pg_ctl", "-w", "-l", str(folder / "server.log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg2://moola:{PASSWORD}@127.0.0.1:{port}"
        finally:
            pg("pg_ctl", "-m", "immediate", "stop")


@contextmanager
def bucket_server() -> Iterator[str]:
    """An S3-compatible server in this process with the empty bucket `moola`; yields its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        bucket_of(address).create()
        yield address
    finally:
        server.stop()


def bucket_of(address: str) -> Any:
    """The bucket `moola` of a server."""
    import boto3

    resource: Any = boto3.resource(
        "s3",
        endpoint_url=address,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region_name=KEYS["AWS_DEFAULT_REGION"],
    )
    return resource.Bucket("moola")
