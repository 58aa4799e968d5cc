"""Answers of the endpoints that keep objects: files, uploads, batches, vector stores, tuning."""

from dataclasses import dataclass, field
from typing import Any

from support.spec_wire import (
    CREATED_AT,
    SpecAnswer,
    SpecError,
    SpecRequest,
    binary,
    json_answer,
    page,
    short,
)

Object = dict[str, Any]


@dataclass
class Shelf:
    """Everything kept, by id; ids follow from contents, so the same steps give the same ids."""

    objects: dict[str, Object] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def put(self, one: Object, content: bytes | None = None) -> SpecAnswer:
        """Keep an object; answer it."""
        self.objects[one["id"]] = one
        if content is not None:
            self.contents[one["id"]] = content
        return json_answer(one)

    def get(self, identity: str) -> Object:
        """Return an object."""
        if identity not in self.objects:
            raise SpecError(404, f"No such object: {identity}")
        return self.objects[identity]

    def content(self, identity: str) -> bytes:
        """Return the bytes of a file or of a part."""
        self.get(identity)
        return self.contents[identity]

    def of(self, kind: str) -> list[Object]:
        """Return the objects of a kind, in order of their ids."""
        found = [one for one in self.objects.values() if one["object"] == kind]
        return sorted(found, key=lambda one: str(one["id"]))

    def delete(self, identity: str, kind: str) -> SpecAnswer:
        """Remove an object; answer that it is gone."""
        self.get(identity)
        del self.objects[identity]
        self.contents.pop(identity, None)
        return json_answer({"id": identity, "object": kind, "deleted": True})


def _file(name: str, content: bytes, purpose: str) -> Object:
    return {
        "id": f"file-{short(content)}",
        "object": "file",
        "bytes": len(content),
        "created_at": CREATED_AT,
        "filename": name,
        "purpose": purpose,
        "status": "processed",
    }


class Objects:
    """The handlers, over one shelf."""

    def __init__(self) -> None:
        self.shelf = Shelf()

    def create_file(self, request: SpecRequest) -> SpecAnswer:
        """Answer `POST /files`."""
        (part,) = request.files()
        return self.shelf.put(
            _file(part.filename, part.content, request.field("purpose")), part.content
        )

    def list_(self, kind: str, request: SpecRequest) -> SpecAnswer:
        """Answer a `GET` of a collection, paged by `limit` and `after`."""
        items = self.shelf.of(kind)
        after = request.options.get("after")
        items = [one for one in items if after is None or one["id"] > after]
        limit = int(request.options.get("limit", "20"))
        return page(items[:limit], more=len(items) > limit)

    def get(self, identity: str) -> SpecAnswer:
        """Answer a `GET` of one object."""
        return json_answer(self.shelf.get(identity))

    def content(self, identity: str) -> SpecAnswer:
        """Answer `GET /files/ID/content`."""
        return binary([self.shelf.content(identity)], "application/octet-stream")

    def create_upload(self, request: SpecRequest) -> SpecAnswer:
        """Answer `POST /uploads`."""
        asked = request.json
        return self.shelf.put(
            {
                "id": f"upload_{short(asked)}",
                "object": "upload",
                "bytes": asked["bytes"],
                "created_at": CREATED_AT,
                "expires_at": CREATED_AT + 3600,
                "filename": asked["filename"],
                "purpose": asked["purpose"],
                "status": "pending",
            }
        )

    def add_part(self, upload: str, request: SpecRequest) -> SpecAnswer:
        """Answer `POST /uploads/ID/parts`."""
        self.shelf.get(upload)
        (part,) = request.files()
        identity = f"part_{short(part.content)}"
        made = {"id": identity, "object": "upload.part", "created_at": CREATED_AT}
        return self.shelf.put({**made, "upload_id": upload}, part.content)

    def complete_upload(self, upload: str, request: SpecRequest) -> SpecAnswer:
        """Answer `POST /uploads/ID/complete`."""
        found = self.shelf.get(upload)
        content = b"".join(self.shelf.content(part) for part in request.json["part_ids"])
        if len(content) != found["bytes"]:
            raise SpecError(400, f"{len(content)} bytes came, {found['bytes']} were announced.")
        file = _file(found["filename"], content, found["purpose"])
        self.shelf.put(file, content)
        return self.shelf.put({**found, "status": "completed", "file": file})

    def create_batch(self, request: SpecRequest) -> SpecAnswer:
        """Answer `POST /batches`."""
        asked = request.json
        self.shelf.get(asked["input_file_id"])
        return self.shelf.put(
            {
                "id": f"batch_{short(asked)}",
                "object": "batch",
                "endpoint": asked["endpoint"],
                "input_file_id": asked["input_file_id"],
                "completion_window": asked["completion_window"],
                "status": "validating",
                "created_at": CREATED_AT,
                "request_counts": {"total": 0, "completed": 0, "failed": 0},
                "metadata": asked.get("metadata"),
            }
        )

    def cancel(self, identity: str) -> SpecAnswer:
        """Answer `POST /batches/ID/cancel` and that of uploads and tuning jobs."""
        state = "cancelling" if identity.startswith("batch") else "cancelled"
        return self.shelf.put({**self.shelf.get(identity), "status": state})

    def create_store(self, request: SpecRequest) -> SpecAnswer:
        """Answer `POST /vector_stores`."""
        kinds = ("in_progress", "completed", "failed", "cancelled", "total")
        return self.shelf.put(
            {
                "id": f"vs_{short(request.json)}",
                "object": "vector_store",
                "created_at": CREATED_AT,
                "name": request.json.get("name", ""),
                "usage_bytes": 0,
                "file_counts": dict.fromkeys(kinds, 0),
                "status": "completed",
                "metadata": {},
            }
        )

    def search(self, store: str, request: SpecRequest) -> SpecAnswer:
        """Answer `POST /vector_stores/ID/search`."""
        self.shelf.get(store)
        text = f"found for {request.json['query']}"
        hit = {"file_id": "file-spec", "filename": "spec.txt", "score": 0.5, "attributes": {}}
        hit |= {"content": [{"type": "text", "text": text}]}
        found = {"object": "vector_store.search_results.page", "data": [hit]}
        return json_answer({**found, "search_query": [request.json["query"]], "has_more": False})

    def create_job(self, request: SpecRequest) -> SpecAnswer:
        """Answer `POST /fine_tuning/jobs`."""
        asked = request.json
        return self.shelf.put(
            {
                "id": f"ftjob-{short(asked)}",
                "object": "fine_tuning.job",
                "created_at": CREATED_AT,
                "model": asked["model"],
                "training_file": asked["training_file"],
                "status": "queued",
                "organization_id": "org-spec",
                "hyperparameters": {"n_epochs": "auto"},
                "result_files": [],
                "seed": 1,
                "trained_tokens": None,
            }
        )
