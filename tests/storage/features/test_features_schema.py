from hypothesis import given
from hypothesis import strategies as st

from storage.features.schema import FIELDS, NAME_CHARS, Field, grown, left_out, slug_of

NUMBERS = {"BIGINT"}, {"DOUBLE"}
TYPES = st.sets(st.sampled_from(["BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR"]), min_size=1)
FOUND = st.dictionaries(st.text(max_size=3), TYPES, max_size=6)


def test_whole_numbers_are_widened_once() -> None:
    """BIGINT becomes DOUBLE where others come, and stays so when whole ones come back."""
    first = grown((), {"age": {"BIGINT"}})
    second = grown(first, {"age": {"DOUBLE"}})
    assert first == (Field("age", "BIGINT", "age"),)
    assert second == grown(second, {"age": {"BIGINT"}}) == (Field("age", "DOUBLE", "age"),)


def test_another_kind_has_a_field_of_its_own() -> None:
    """Text of a feature that was a number is kept beside it, and so is a flag."""
    fields = grown(grown((), {"age": {"DOUBLE"}}), {"age": {"BOOLEAN", "VARCHAR"}})
    assert [(one.type, one.field) for one in fields] == [
        ("DOUBLE", "age"),
        ("BOOLEAN", "age_2"),
        ("VARCHAR", "age_3"),
    ]


@given(st.lists(FOUND, max_size=4))
def test_schemas_only_grow(batches: list[dict[str, set[str]]]) -> None:
    """Every version takes what the one before took, and fields never share a name."""
    fields: tuple[Field, ...] = ()
    for found in batches:
        before, fields = fields, grown(fields, found)
        assert [one.name for one in fields[: len(before)]] == [one.name for one in before]
        assert all(not name or not name.isprintable() for name, _ in left_out(fields, found))
        assert grown(fields, found) == fields
    places = [one.field.lower() for one in fields]
    assert len(set(places)) == len(places)
    assert all(place.isascii() and place.replace("_", "a").isalnum() for place in places)
    assert not any(place[0].isdigit() for place in places)


def test_the_last_version_needs_no_other_for_numbers() -> None:
    """Where none may follow, a whole number today must not shut out a broken one tomorrow."""
    fields = grown((), {"a": {"BIGINT"}}, last=True)
    assert left_out(fields, {"a": {"DOUBLE"}}) == set()


def test_names_and_fields_are_bounded() -> None:
    """What is too much, too long, empty or unreadable is left out and named."""
    many = {str(number): {"DOUBLE"} for number in range(FIELDS + 5)}
    assert len(grown((), many)) == FIELDS
    assert len(left_out(grown((), many), many)) == 5
    hostile = {name: {"VARCHAR"} for name in ("", "x" * (NAME_CHARS + 1), "a\nb", "\x00")}
    assert grown((), hostile) == ()
    assert left_out((), hostile) == {(name, "VARCHAR") for name in hostile}


def test_models_never_share_a_name() -> None:
    """Names that look alike as part of a table's name are told apart."""
    assert slug_of("Meta/Llama 3.1", ()) == "meta_llama_3_1"
    assert slug_of("meta-llama-3.1", {"meta_llama_3_1"}) == "meta_llama_3_1_2"
    assert slug_of('"; DROP TABLE x; --', ()) == "drop_table_x"
    assert slug_of("模型", ()) == "model"
