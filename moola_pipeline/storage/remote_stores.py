"""Stores outside the home, for more than one machine, each named by a variable of the environment."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from moola_pipeline.errors import BadInput

TRACKING_VARIABLE = "MOOLA_TRACKING_URI"
"""MLflow's database: postgresql+psycopg2://USER:PASSWORD@HOST/NAME."""
ARTIFACTS_VARIABLE = "MOOLA_ARTIFACTS_URI"
"""Where MLflow keeps artifacts: s3://BUCKET/PREFIX; the server's address in MLFLOW_S3_ENDPOINT_URL."""
STORE_VARIABLE = "MOOLA_STORE_URI"
"""Where the assets' files are kept too: s3://BUCKET/PREFIX; the server's address in AWS_ENDPOINT_URL."""
_POSTGRES = "postgresql+psycopg2://"
_TURN = 0x6D6F6F6C61
"""The advisory lock that processes take when they make something once ("moola" in ASCII)."""


def remote_tracking_uri() -> str | None:
    """MLflow's database outside the home; None if it lies in the home.

    Raises:
        BadInput: If it is no PostgreSQL database, or its artifacts have no place outside the home.
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
    """Where MLflow keeps artifacts outside the home; None if they lie in the home.

    Raises:
        BadInput: If the address holds keys: MLflow writes it beside every run.
    """
    uri = os.environ.get(ARTIFACTS_VARIABLE)
    if not uri:
        return None
    refuse_keys(ARTIFACTS_VARIABLE, uri)
    return uri.rstrip("/")


def refuse_keys(variable: str, uri: str) -> None:
    """Refuse the address of a bucket that holds the keys to it.

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
    """One process at a time, on all machines that share the PostgreSQL database.

    Raises:
        BadInput: If the database does not answer.
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
    """Say in one line, without its password, what a shared database complains of in the block.

    Raises:
        BadInput: If it does.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as fault:
        came = " ".join(str(getattr(fault, "orig", None) or fault).split())
        password = make_url(uri).password
        shown = came.replace(str(password), "***") if password else came
        raise BadInput(
            f"{TRACKING_VARIABLE} must name an MLflow database that responds, got "
            f"{without_secrets(uri)}: {shown}. {remedy}"
        ) from fault


def _is_database(uri: str) -> bool:
    """Whether the parts of a database's address can be told apart."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(uri)
    except (ArgumentError, ValueError):
        return False
    return uri.count("@") <= 1


def without_secrets(uri: str) -> str:
    """A URI as it may be shown: without its password, however it is written, and without keys."""
    shown = re.sub(r"(?s)(://[^:/]*):.*@", r"\1:***@", uri)
    return re.sub(r"(?i)([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", r"\1***", shown)
