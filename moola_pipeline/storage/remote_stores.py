"""Stores outside the home, shared by machines; each is set by an environment variable."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from moola_pipeline.errors import BadInput

TRACKING_VARIABLE = "MOOLA_TRACKING_URI"
"""MLflow's database: postgresql+psycopg2://USER:PASSWORD@HOST/NAME."""
ARTIFACTS_VARIABLE = "MOOLA_ARTIFACTS_URI"
"""MLflow's artifacts: s3://BUCKET/PREFIX; the server's address is in MLFLOW_S3_ENDPOINT_URL."""
STORE_VARIABLE = "MOOLA_STORE_URI"
"""Copies of the assets: s3://BUCKET/PREFIX; the server's address is in AWS_ENDPOINT_URL."""
_POSTGRES = "postgresql+psycopg2://"
_TURN = 0x6D6F6F6C61
"""Key of the advisory lock ("moola" in ASCII)."""


def remote_tracking_uri() -> str | None:
    """MLflow's database outside the home; None if it lies in the home.

    Raises:
        BadInput: If it is not a PostgreSQL database, or no bucket is set for its artifacts.
    """
    uri = os.environ.get(TRACKING_VARIABLE)
    if not uri:
        return None
    if not uri.startswith(_POSTGRES):
        raise BadInput(
            f"{TRACKING_VARIABLE} must begin with {_POSTGRES}, got {without_secrets(uri)!r}. "
            "Write the scheme in full, or unset the variable: the database then lies in the home."
        )
    if not _is_database(uri):
        raise BadInput(
            f"{TRACKING_VARIABLE} must be {_POSTGRES}USER:PASSWORD@HOST/NAME, got {without_secrets(uri)!r}. "
            "Write the characters @ : / ? # of a password as %40 %3A %2F %3F %23."
        )
    if not os.environ.get(ARTIFACTS_VARIABLE):
        raise BadInput(
            f"{ARTIFACTS_VARIABLE} must be set beside {TRACKING_VARIABLE}, but it is not: machines that "
            "share a database must find each other's files. Name a bucket: s3://BUCKET/PREFIX"
        )
    return uri


def remote_artifacts_uri() -> str | None:
    """The bucket of MLflow's artifacts; None if they lie in the home.

    Raises:
        BadInput: If the address contains keys: MLflow stores it with every run.
    """
    uri = os.environ.get(ARTIFACTS_VARIABLE)
    if not uri:
        return None
    refuse_keys(ARTIFACTS_VARIABLE, uri)
    return uri.rstrip("/")


def refuse_keys(variable: str, uri: str) -> None:
    """Refuse a bucket address that contains keys.

    Raises:
        BadInput: If it does.
    """
    if without_secrets(uri) != uri or re.match(r"[\w+.-]+://[^/]*@", uri):
        raise BadInput(
            f"{variable} must not contain keys, got {re.sub('://.*@', '://***@', without_secrets(uri))!r}. "
            "Set them in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )


@contextmanager
def database_lock(uri: str) -> Iterator[None]:
    """A lock between all processes on all machines that share the PostgreSQL database.

    Raises:
        BadInput: If the database does not respond.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    with database_errors(uri, "Start it, or correct the variable."):
        connection = create_engine(uri, poolclass=NullPool).connect()
    with connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _TURN})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _TURN})


@contextmanager
def database_errors(uri: str, remedy: str) -> Iterator[None]:
    """Turn errors of a shared database in the block into one line without the password.

    Raises:
        BadInput: If the database reports an error.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as fault:
        came = " ".join(str(getattr(fault, "orig", None) or fault).split())
        password = make_url(uri).password
        message = came.replace(str(password), "***") if password else came
        raise BadInput(
            f"{TRACKING_VARIABLE} must name an MLflow database that responds, got "
            f"{without_secrets(uri)}: {message}. {remedy}"
        ) from fault


def _is_database(uri: str) -> bool:
    """Whether a database's address can be parsed without ambiguity."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(uri)
    except (ArgumentError, ValueError):
        return False
    return uri.count("@") <= 1


def without_secrets(uri: str) -> str:
    """A URI for display: without password and keys."""
    redacted = re.sub(r"(?s)(://[^:/]*):.*@", r"\1:***@", uri)
    return re.sub(r"(?i)([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", r"\1***", redacted)
