"""What monitors keep between looks: detectors, silences, and where baselines come from."""

_DETECTORS = """
CREATE TABLE detectors (
    route VARCHAR NOT NULL, segment VARCHAR NOT NULL, feature VARCHAR NOT NULL,
    baseline VARCHAR NOT NULL, batch BIGINT NOT NULL, updated_at TIMESTAMP NOT NULL,
    body BLOB NOT NULL)
"""

_SILENCES = """
CREATE TABLE silences (
    id VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL, starts_at TIMESTAMP NOT NULL,
    ends_at TIMESTAMP NOT NULL, author VARCHAR NOT NULL, comment VARCHAR NOT NULL,
    matchers VARCHAR NOT NULL)
"""

VERSION_8: tuple[str, ...] = (
    _DETECTORS,
    _SILENCES,
    "ALTER TABLE verdicts ADD COLUMN segment VARCHAR DEFAULT ''",
    "ALTER TABLE baselines ADD COLUMN source VARCHAR DEFAULT '{}'",
)
