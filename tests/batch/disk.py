"""A file system behind a URL, `disk:///tmp/pictures`, which outlives its process as a server would."""

from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem


class Disk(LocalFileSystem):
    """Not known as a folder of this machine, so that it is met as a remote one is."""

    protocol = "disk"

    @classmethod
    def _strip_protocol(cls, path):
        return LocalFileSystem._strip_protocol(str(path).removeprefix("disk://"))


register_implementation("disk", Disk, clobber=True)
