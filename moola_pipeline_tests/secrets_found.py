"""Search for secrets in texts, files, bucket objects and database rows."""

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def found_in_text(secrets: Iterable[str], **texts: str) -> list[str]:
    """Names of the texts that contain a secret."""
    return [name for name, text in texts.items() if any(secret in text for secret in secrets)]


def found_in_files(secrets: Iterable[str], folder: Path) -> list[str]:
    """Files below a folder with a secret in their name, their bytes or their zip members."""
    wanted = [secret.encode() for secret in secrets]
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(secret in held for secret in wanted for held in _contents(path))
    ]


def found_in_bucket(secrets: Iterable[str], bucket: Any) -> list[str]:
    """Objects of a bucket that contain a secret."""
    wanted = [secret.encode() for secret in secrets]
    return [
        entry.key
        for entry in bucket.objects.all()
        if any(secret in entry.get()["Body"].read() or secret in entry.key.encode() for secret in wanted)
    ]


def found_in_postgres(secrets: Iterable[str], address: str) -> list[str]:
    """Tables of a PostgreSQL database with a secret in a row.

    Args:
        secrets: Searched for.
        address: Connection string for psycopg2.
    """
    import psycopg2
    from psycopg2 import sql

    connection = psycopg2.connect(address)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        assert tables, "a database without tables proves nothing"
        found = []
        for table in tables:
            cursor.execute(sql.SQL("SELECT row_to_json(t)::text FROM {} AS t").format(sql.Identifier(table)))
            texts = [_unescaped(text) for (text,) in cursor.fetchall()]
            if any(secret in text for secret in secrets for text in texts):
                found.append(table)
        return found
    finally:
        connection.close()


def _unescaped(text: str) -> str:
    return f"{text}\n{json.loads(text)}"


def _contents(path: Path) -> Iterator[bytes]:
    yield path.name.encode()
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
