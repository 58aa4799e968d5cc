"""The hostile-input list: every row that a worker without keys is shown."""

from support.hostile import bodies, forms, framing, paths, wire

ROWS = [*wire.ROWS, *framing.ROWS, *paths.ROWS, *bodies.ROWS, *forms.ROWS]
