"""The hostile-input list: every row that a worker without keys is shown, in groups."""

from support.hostile import bodies, forms, framing, paths, wire
from support.hostile.kit import Row

GROUPS: dict[str, list[Row]] = {
    "protocols": wire.PROTOCOLS,
    "lines": wire.LINES,
    "methods": wire.METHODS,
    "targets": wire.TARGETS,
    "hosts": wire.HOSTS,
    "sizes of heads": wire.SIZES,
    "lengths": framing.LENGTHS,
    "transfer codings": framing.CODINGS,
    "chunks": framing.CHUNKS,
    "pipelines": framing.PIPELINES,
    "expectations": framing.EXPECTATIONS,
    "upgrades": framing.UPGRADES,
    "ways up": paths.WAYS_UP,
    "disguised paths": paths.DISGUISES,
    "paths that command a server": paths.CONTROL,
    "queries": paths.QUERIES,
    "JSON syntax": bodies.SYNTAX,
    "texts in JSON": bodies.TEXT,
    "depth and size of JSON": bodies.DEPTH,
    "numbers in JSON": bodies.NUMBERS,
    "keys that stand twice": bodies.TWICE,
    "wrong types": bodies.TYPES,
    "JSON of other operations": bodies.ELSEWHERE,
    "kinds of content": bodies.KINDS,
    "forms": forms.FORMS,
    "content codings": forms.ENCODED,
}
ROWS = [row for rows in GROUPS.values() for row in rows]
