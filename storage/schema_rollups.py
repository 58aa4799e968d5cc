"""Roll-ups: integers by 5-minute slot, added up to hours later."""

VERSION_4: tuple[str, ...] = ()
