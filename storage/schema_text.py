"""Day files of text."""

VERSION_5: tuple[str, ...] = ()
