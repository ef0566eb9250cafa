"""Files that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import OutputError


def check_writable(target: Path, *, directory: bool = False) -> None:
    """Find out, before the work, whether ``target`` could be written: a nameless file is made in the nearest folder.

    Raises ``OutputError`` where it could not, or where a folder stands in a file's place or the other way round.
    """
    if target.exists() and target.is_dir() != directory:
        raise OutputError(
            f"cannot write {target}: it is a {'file: name a folder' if directory else 'folder: name a file'}"
        )
    folder = target.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write {target}: {folder}: {error.strerror or error}") from error


@contextmanager
def written_beside(target: Path, *, directory: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to ``target``, which takes its place only when the block ends without an error.

    With ``directory`` the temporary path is an empty folder that replaces ``target``; files of other names in a folder
    that is replaced are kept. What stood at ``target`` before stays as it was if anything fails.
    Raises ``OutputError`` where the place cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    try:
        inner = scratch / target.name
        if directory:
            inner.mkdir()
        yield inner
        if directory and target.is_dir():
            old = scratch / "replaced"
            target.rename(old)
            try:
                inner.rename(target)
            except OSError:
                old.rename(target)
                raise
            for kept in [path for path in old.iterdir() if not (target / path.name).exists()]:
                kept.rename(target / kept.name)
        else:
            inner.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
