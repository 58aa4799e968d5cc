"""Where a route asks for a rewrite, the edit is the smallest that does it."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import wild_answers as wild
from support.fidelity_rig import CHAT, RENAMED, Got, Rig, running_rig

FEWER = settings(max_examples=80, deadline=None)
_SPACE = st.text(" \n\r\t", max_size=2).map(str.encode)
_OTHERS = {
    "messages": [{"role": "user", "content": 'say "model":"other" and \\"model\\": \\"other\\"'}],
    "metadata": {"model": "other", "models": ["other"]},
    "of some vendor": {"deep": [{"model": "other"}]},
    "seed": 2**70,
    "temperature": 1e-7,
    "Model": "other",
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Run a worker and its upstream."""
    with running_rig(tmp_path_factory.mktemp("rewrites")) as running:
        yield running


@st.composite
def bodies(draw: st.DrawFn, *more: tuple[str, object]) -> tuple[bytes, bytes]:
    """Return an object that names the model `other`, and the same with the model's new name."""
    names = draw(st.lists(st.sampled_from(sorted(set(_OTHERS) - {"messages"})), unique=True))
    fields = [(name, _OTHERS[name]) for name in [*names, "messages"]] + list(more)
    written: list[list[bytes]] = []
    for name, value in [*fields, ("model", None)]:
        text = b"" if name == "model" else draw(wild.rendered(value))
        colon = [b'"%b"' % name.encode(), b":", text]
        written.append([part + draw(_SPACE) for part in colon[:2]] + colon[2:] + [draw(_SPACE)])
    order = draw(st.permutations(written))
    edge = draw(_SPACE)

    def joined(model: str) -> bytes:
        texts = [
            b"".join([*one[:2], one[2] or json.dumps(model).encode(), one[3]]) for one in order
        ]
        return edge + b"{" + edge + b",".join(texts) + b"}" + edge

    return joined("other"), joined(RENAMED)


def ask(rig: Rig, path: str, body: bytes, kind: str, cuts: tuple[int, ...] = ()) -> Got:
    """Send a body; return the answer."""
    line = f"POST {path} HTTP/1.1"
    head = f"{line}\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    rig.upstream.requests.clear()
    (got,) = rig.send(wild.segments(head.encode() + body, cuts, 0.0), [line])
    return got


@FEWER
@given(pair=bodies(), cuts=wild.CUTS)
def test_model_is_all_that_changes(
    rig: Rig, pair: tuple[bytes, bytes], cuts: tuple[int, ...]
) -> None:
    """An upstream with its own model name gets the client's body with that name, to the byte."""
    body, expected = pair
    got = ask(rig, CHAT, body, "application/json", cuts)
    assert got.status == 200
    (seen,) = rig.upstream.requests
    assert seen.body == expected
    assert rig.row(got).prediction.model_asked == "other"


@FEWER
@given(pair=bodies(("stream", True)))
def test_usage_is_asked_for_in_one_place(rig: Rig, pair: tuple[bytes, bytes]) -> None:
    """Asking a stream for its usage adds one field and changes nothing else."""
    body, expected = pair
    got = ask(rig, CHAT, body, "application/json")
    assert got.status == 200
    (seen,) = rig.upstream.requests
    added = b'"stream_options":{"include_usage":true},'
    assert seen.body.count(added) == 1
    assert seen.body.replace(added, b"") == expected


@FEWER
@given(pair=bodies(("stream", True), ("stream_options", {"include_obfuscation": False})))
def test_usage_is_asked_for_beside_other_options(rig: Rig, pair: tuple[bytes, bytes]) -> None:
    """A client's own stream options stay, and every value with them."""
    got = ask(rig, CHAT, pair[0], "application/json")
    assert got.status == 200
    (seen,) = rig.upstream.requests
    asked = json.loads(pair[1])
    asked["stream_options"] = {"include_obfuscation": False, "include_usage": True}
    assert json.loads(seen.body) == asked


@FEWER
@given(
    sound=st.binary(max_size=200),
    times=st.sampled_from([1, 1, 1, 30, 20_000]),
    boundary=st.text("0123456789abc-_'", min_size=1, max_size=30).map(str.encode),
    order=st.permutations(["model", "file", "prompt", "language"]),
    cuts=wild.CUTS,
)
def test_model_of_a_form_is_all_that_changes(
    rig: Rig,
    sound: bytes,
    times: int,
    boundary: bytes,
    order: list[str],
    cuts: tuple[int, ...],
) -> None:
    """A multipart body reaches the upstream with the new name in its part, else to the byte."""
    values = {
        "prompt": b'name="model"\r\n\r\nother',
        "language": b"",
        "file": (sound * times).replace(boundary, b""),
    }

    def form(model: bytes) -> bytes:
        parts = [
            b"--%b\r\nContent-Disposition: form-data; name=%b%b\r\n\r\n%b\r\n"
            % (
                boundary,
                b'"' + name.encode() + b'"',
                b'; filename="a \xc3\xbc.wav"\r\nContent-Type: audio/wav'
                if name == "file"
                else b"",
                values.get(name, model),
            )
            for name in order
        ]
        return b"".join(parts) + b"--" + boundary + b"--\r\n"

    kind = f'multipart/form-data; boundary="{boundary.decode()}"'
    got = ask(rig, "/v1/audio/transcriptions", form(b"other"), kind, cuts)
    (seen,) = rig.upstream.requests
    assert seen.body == form(RENAMED.encode())
    assert rig.row(got).prediction.model_asked == "other"
