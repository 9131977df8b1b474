"""Where a secret has got to: output, files of homes, objects of a bucket, rows of databases."""

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def found_in_text(secrets: Iterable[str], **texts: str) -> list[str]:
    """The names of the texts that hold a secret."""
    return [name for name, text in texts.items() if any(secret in text for secret in secrets)]


def found_in_files(secrets: Iterable[str], folder: Path) -> list[str]:
    """The files below a folder whose bytes, or whose zipped members, hold a secret, or whose names do."""
    wanted = [secret.encode() for secret in secrets]
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(one in held for one in wanted for held in _contents(path))
    ]


def found_in_bucket(secrets: Iterable[str], bucket: Any) -> list[str]:
    """The objects of a bucket that hold a secret."""
    wanted = [secret.encode() for secret in secrets]
    return [
        entry.key
        for entry in bucket.objects.all()
        if any(one in entry.get()["Body"].read() or one in entry.key.encode() for one in wanted)
    ]


def found_in_postgres(secrets: Iterable[str], address: str) -> list[str]:
    """The tables of a PostgreSQL database of which a row holds a secret.

    Args:
        secrets: What must not be there.
        address: As psycopg2 takes it.
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
