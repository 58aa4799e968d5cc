import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocols.multipart import boundary_of, read_fields

MODEL = b'Content-Disposition: form-data; name="model"\r\n\r\nwhisper-1'
FILE = (
    b'Content-Disposition: form-data; name="file"; filename="model"\r\n'
    b"Content-Type: audio/mpeg\r\n\r\n\x00\r\n--x\r\n\xff"
)


def form(*parts: bytes, boundary: bytes = b"b0") -> bytes:
    """Return a multipart body."""
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + (
        b"--" + boundary + b"--\r\n"
    )


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; charset=utf-8; boundary="a b;c"', b"a b;c"),
        (b"multipart/form-data; xboundary=other; boundary=abc", b"abc"),
        (b"multipart/form-data; xboundary=other", None),
        (b"multipart/form-data", None),
        (b"application/json; boundary=abc", None),
        (b"", None),
    ],
)
def test_boundary_is_read(content_type: bytes, boundary: bytes | None) -> None:
    """The boundary stands in the type, with or without quotes."""
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("parts", [(MODEL, FILE), (FILE, MODEL)], ids=["before", "after"])
def test_fields_are_found_and_files_left_out(parts: tuple[bytes, ...]) -> None:
    """A field is found with its place, before and after a file that looks like one."""
    body = b"preamble\r\n" + form(*parts)
    found = read_fields(body, b"b0")
    (field,) = found.fields
    assert (field.name, field.value) == (b"model", b"whisper-1")
    assert body[field.start : field.end] == b"whisper-1"
    assert found.ended


@pytest.mark.parametrize(
    "head",
    [
        b"content-disposition: form-data; name=model",
        b'CONTENT-DISPOSITION:form-data;name="model"',
        b'Content-Type: text/plain\r\nContent-Disposition: form-data; x="y"; name="model"',
    ],
)
def test_fields_are_named_in_many_ways(head: bytes) -> None:
    """Case, spaces, quotes and other parameters do not hide a field."""
    (field,) = read_fields(form(head + b"\r\n\r\nm"), b"b0").fields
    assert (field.name, field.value) == (b"model", b"m")


@given(st.integers(0, 300))
def test_half_a_body_gives_half_the_fields(cut: int) -> None:
    """A body that is still arriving shows whole fields alone."""
    body = form(MODEL, FILE)[:cut]
    found = read_fields(body, b"b0")
    assert [field.value for field in found.fields] in ([], [b"whisper-1"])


@given(st.binary(max_size=200), st.sampled_from([b"b", b"--", b"\r"]))
def test_any_bytes_are_read_without_an_error(body: bytes, boundary: bytes) -> None:
    """What is no form has no fields, and raises nothing."""
    assert len(read_fields(b"--" + boundary + body, boundary).fields) < 200


def test_empty_value_is_a_value() -> None:
    """A field may be empty."""
    (field,) = read_fields(form(b'Content-Disposition: form-data; name="model"\r\n\r\n'), b"b0")[0]
    assert field.value == b""
