"""Taking a study out of a store into one file, and taking such a file into another store: what is said of it."""

from pathlib import Path

from drfarm.progress import bytes_text
from store import open_store
from store.archive_export import Archived
from store.archive_export import export_archive as export_from
from store.archive_import import import_archive as import_into

_CALLED = {"probes": "probes", "cka": "CKA values"}


def export_archive(
    store_url: str | Path, file: str | Path, *, study: str | None = None, features: bool = True
) -> Archived:
    """Write what is finished in a store into one file: representations with their statistics, results, studies.

    Parameters
    ----------
    store_url
        Where it is.
    file
        Where it goes: ``.tar``, ``.tar.zst`` or ``.tar.gz``. The same contents make the same bytes.
    study
        Name of the study whose representations and results are taken; all by default.
    features
        Whether representations are taken along.

    Returns
    -------
    Archived
        What is in the file.

    Raises
    ------
    UnknownName
        If there is no such study in the store.
    InvalidRequest
        If there is nothing to export, or the file can't be written.
    Corrupt
        If something is not what was written; the message names it.
    """
    return export_from(open_store(store_url), Path(file), study=study, features=features)


def import_archive(file: str | Path, store_url: str | Path) -> Archived:
    """Take what `export_archive` wrote into a store, making the store where there is none.

    Everything is checked before anything is written; the same archive again changes nothing; killed anywhere, what is
    there is whole or unreadable, and the next import goes on.

    Returns
    -------
    Archived
        What was new.

    Raises
    ------
    Corrupt
        If the archive is cut short or damaged; nothing was taken in.
    UnsupportedFormat
        If a newer drfarm wrote it, or it is no archive; nothing was taken in.
    Conflict
        If the store has something else under one identity; nothing was taken in.
    """
    return import_into(Path(file), store_url)


def exported_text(done: Archived, file: Path) -> str:
    """Tell what is in an archive."""
    left = f" {_counted(len(done.left_out))} not complete and left out." if done.left_out else ""
    return f"{_contents(done)} are in {file} ({bytes_text(file.stat().st_size)}).{left}"


def imported_text(done: Archived, store_url: str) -> str:
    """Tell what of an archive was new."""
    there = f" {_counted(len(done.left_out))} there already." if done.left_out else ""
    if not done.representations and not any(done.results.values()) and not done.studies:
        return f"nothing was new: {store_url} has all of it."
    return f"{_contents(done)} are new in {store_url}.{there}"


def _contents(done: Archived) -> str:
    n = done.representations
    told = [f"{n:,} representation{'' if n == 1 else 's'}"] if n else []
    told += [f"{count:,} {_CALLED[kind]}" for kind, count in done.results.items() if count]
    studies = f"study {', '.join(done.studies)}" if done.studies else ""
    return ", ".join([*told, studies]) if studies else ", ".join(told)


def _counted(n: int) -> str:
    return "1 representation is" if n == 1 else f"{n:,} representations are"
