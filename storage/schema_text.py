"""Day files of text: their registry, how far each source's text is in them, and the view."""

_REGISTRY: tuple[str, ...] = (
    "ALTER TABLE payload_files RENAME TO payload_files_4",
    """
    CREATE TABLE payload_files (
        file VARCHAR NOT NULL, day DATE NOT NULL, "rows" BIGINT NOT NULL, bytes BIGINT NOT NULL,
        text_bytes BIGINT NOT NULL, first_at TIMESTAMP NOT NULL, last_at TIMESTAMP NOT NULL,
        adopted BOOLEAN NOT NULL, level TINYINT NOT NULL, state VARCHAR NOT NULL,
        changed_at TIMESTAMP NOT NULL, crc32 BIGINT)
    """,
    """
    INSERT INTO payload_files
    SELECT file, day, "rows", bytes, 4 * bytes, first_at, last_at, adopted, 0, 'live', last_at, NULL
    FROM payload_files_4
    """,
    "DROP TABLE payload_files_4",
)
"""States: `live`; `retired`: merged, kept a while for those who read it; `gone`: to be unlinked;
`damaged`: renamed, its text is lost. `text_bytes` of older files is a guess."""

# What is in the facts is in `payloads_recent` or in an older day file already.
_MARKS: tuple[str, ...] = (
    """
    CREATE TABLE text_marks (
        source VARCHAR NOT NULL, segment BIGINT NOT NULL, byte_offset BIGINT NOT NULL,
        batch BIGINT NOT NULL)
    """,
    """
    INSERT INTO text_marks
    SELECT source, CASE WHEN finished THEN segment + 1 ELSE segment END,
        CASE WHEN finished THEN 0 ELSE byte_offset END, 0
    FROM watermarks
    """,
)

_NAMED = (
    "array_to_string(string_split(source_file, '/')[-2:], '/')"
    " IN (SELECT file FROM payload_files WHERE state = 'live')"
)

PAYLOADS = f"""
CREATE OR REPLACE VIEW payloads AS
SELECT id, started_at, request, response, request_truncated, response_truncated, response_type
FROM payloads_recent
UNION ALL
SELECT id, started_at, request, response, request_truncated, response_truncated, response_type
FROM read_parquet('payloads/*/[0-9]*.parquet', filename = 'source_file', hive_partitioning = false)
WHERE {_NAMED}
UNION ALL
SELECT id, started_at, array_to_string(request_parts, ''), response, request_truncated,
    response_truncated, response_type
FROM read_parquet('payloads/*/t*.parquet', filename = 'source_file', hive_partitioning = false)
WHERE {_NAMED}
"""  # noqa: S608 (words of this file)
"""Text by prediction, about half a minute behind the facts: it is here once it is in a file.

`payloads_recent` holds rows until the start that finds them moves them to a file.
"""

VERSION_5: tuple[str, ...] = (*_REGISTRY, *_MARKS, PAYLOADS)
