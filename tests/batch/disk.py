"""A file system behind a URL, `disk:///tmp/images`, which persists beyond the process like a server."""

from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem


class Disk(LocalFileSystem):
    """A local file system under its own protocol, so that it is treated as a remote one."""

    protocol = "disk"

    @classmethod
    def _strip_protocol(cls, path):
        return LocalFileSystem._strip_protocol(str(path).removeprefix("disk://"))


register_implementation("disk", Disk, clobber=True)
