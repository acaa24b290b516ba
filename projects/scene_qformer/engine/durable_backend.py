"""Where mmengine writes checkpoints: its storage backend for local files, made durable.

Whatever goes through :func:`mmengine.runner.save_checkpoint` (epochs, the best ones, published ones) ends in the
``put`` of a storage backend. Importing this module registers one that writes as ``durable_file.py`` says, so configs,
hooks and scripts of others need not know of it.
"""
from __future__ import annotations

from pathlib import Path

from mmengine.fileio import register_backend
from mmengine.fileio.backends import LocalBackend

from ..durable_file import digest_path, remove_with_digest, write_durably, write_with_digest

CHECKPOINTS = ('.pth', '.pt')


@register_backend('local', force=True, prefixes='')
class DurableBackend(LocalBackend):
    """Local files that are whole or not there; checkpoints with a digest beside them.

    Raises:
        NotWrittenError: From ``put`` and ``put_text``, if the disk does not take the file.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; the folder is made if it is not there."""
        write = write_with_digest if Path(filepath).suffix in CHECKPOINTS else write_durably
        write(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; the folder is made if it is not there."""
        write_durably(filepath, obj.encode(encoding))

    def remove(self, filepath: str | Path) -> None:
        """Remove a file, and its digest if it has one."""
        if digest_path(Path(filepath)).is_file():
            remove_with_digest(filepath)
        else:
            super().remove(filepath)
