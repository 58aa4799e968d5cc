"""Facts, signals and where a record stands in the spool, in one table."""

VERSION_3: tuple[str, ...] = ()
