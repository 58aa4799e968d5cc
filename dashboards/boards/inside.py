"""The gateway's own health: workers, the log, what was lost or refused."""

from dashboards.promql import per_second, select, total
from dashboards.spec import Panel, Query, Row
from monitors import metrics as m

INSIDE = Row(
    "Gateway",
    (
        Panel(
            "timeseries",
            "Requests and connections now",
            "Requests being answered or waiting to be, and client connections, of all workers.",
            "short",
            (
                Query(total(select(m.IN_FLIGHT)), "requests in flight"),
                Query(total(select(m.WAITING)), "requests waiting for room"),
                Query(total(select(m.CONNECTIONS)), "client connections"),
            ),
            width=6,
        ),
        Panel(
            "timeseries",
            "Event loop lag",
            "Delay of each worker's loop: above 50 ms something holds it, or it is overloaded.",
            "s",
            (
                Query(total(select(m.LOOP_LAG), "worker", operator="max"), "{{worker}} longest"),
                Query(total(select(m.LOOP_LAG_MEAN), "worker", operator="max"), "{{worker}} mean"),
            ),
            width=6,
            steps=((0.05, "orange"), (0.5, "red")),
        ),
        Panel(
            "timeseries",
            "Refused requests",
            "Requests a second refused before they were routed; they have no record.",
            "reqps",
            (Query(per_second(m.REFUSED, by=("reason",)), "{{reason}}"),),
            width=6,
        ),
        Panel(
            "timeseries",
            "Response cache",
            "Bytes held by the response caches of all workers.",
            "bytes",
            (Query(total(select(m.CACHE_BYTES)), "bytes"),),
            width=6,
        ),
        Panel(
            "timeseries",
            "Log behind by",
            "Bytes of the prediction log that are not in the database yet: they are safe, but not "
            "in reports.",
            "bytes",
            (Query(total(select(m.INGEST_LAG)), "lag"),),
            width=6,
        ),
        Panel(
            "timeseries",
            "Lost and left out",
            "A second: answers without a record, damaged places of the log, records without "
            "bodies, shadows dropped, repeats denied, failed batches, observations of refused "
            "series. Only the first two are losses.",
            "short",
            (
                Query(per_second(m.UNLOGGED), "unlogged"),
                Query(per_second(m.SPOOL_LOSSES, by=("kind",)), "spool losses: {{kind}}"),
                Query(per_second(m.PAYLOADS_DROPPED), "without bodies"),
                Query(per_second(m.SHADOWS_DROPPED), "shadows dropped"),
                Query(per_second(m.RETRIES_DENIED), "repeats denied"),
                Query(per_second(m.INGEST_FAILURES), "failed batches"),
                Query(per_second(m.SERIES_DROPPED), "series beyond the cap"),
            ),
            width=6,
        ),
        Panel(
            "timeseries",
            "Records written",
            "Records a second that reach the database.",
            "short",
            (Query(per_second(m.INGESTED), "records"),),
            width=6,
        ),
        Panel(
            "timeseries",
            "Scrape",
            "Time to render the metrics, in the control plane: no stream waits for it.",
            "s",
            (Query(total(select(m.SCRAPE), operator="max"), "render"),),
            width=6,
        ),
        Panel(
            "timeseries",
            "Log behind for",
            "Age that a record may have which is not in the database yet; of text that is in no "
            "day file yet, and of facts that are not in the archive. Above a minute something "
            "holds the ingest.",
            "s",
            (
                Query(total(select(m.INGEST_LAG_S), operator="max"), "database"),
                Query(total(select(m.TEXT_LAG_S), operator="max"), "text"),
                Query(total(select(m.ARCHIVE_LAG_S), operator="max"), "archive"),
            ),
            width=6,
            steps=((60, "orange"), (600, "red")),
        ),
        Panel(
            "timeseries",
            "Spool on disk",
            "Segments of the prediction log, read ones that are still kept included, and what is "
            "held back for facts should the disk fill up.",
            "bytes",
            (
                Query(total(select(m.SPOOL_BYTES), operator="max"), "segments"),
                Query(total(select(m.SPOOL_RESERVE)), "reserve"),
            ),
            width=6,
        ),
        Panel(
            "timeseries",
            "Spool full",
            "What waits for the database, as a share of its quota: from 0.75 on bodies are "
            "dropped, from 1 on `record.on_full` holds. A full or failing disk is a 1, too.",
            "percentunit",
            (
                Query(total(select(m.SPOOL_SHARE), operator="max"), "share of the quota"),
                Query(total(select(m.SPOOL_FULL), "worker", operator="max"), "{{worker}} disk"),
            ),
            width=6,
            steps=((0.75, "orange"), (1.0, "red")),
        ),
        Panel(
            "timeseries",
            "Syncs of the log",
            "A second, with `record.durability: disk`: syncs that failed, and answers sent before "
            "their record was known to be on the disk.",
            "short",
            (
                Query(per_second(m.FAILED_SYNCS), "failed"),
                Query(per_second(m.LATE_SYNCS), "late"),
            ),
            width=6,
        ),
    ),
)
