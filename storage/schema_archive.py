"""What the archive of facts knows of itself."""

VERSION_6: tuple[str, ...] = ()
