"""Referring expressions of RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO: `refs(*).p`, the same as JSON, or parquet."""

import io
import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...utils.errors import DataError, UserError, reason_of, shown

PERSON = 1  # COCO's category
SUFFIXES = (".p", ".json", ".parquet")
SETS = {"refcoco": "unc", "refcocoplus": "unc", "refcocog": "umd"}  # and who made their usual split
_FOLDERS = {"refcocoplus": ("refcoco+", "refcocoplus", "refcoco_plus")}

# Refs by set, who split it, and split, as the data sets' catalogues count them.
KNOWN_REFS = {
    ("refcoco", "unc"): {"train": 42404, "val": 3811, "testA": 1975, "testB": 1810},
    ("refcocoplus", "unc"): {"train": 42278, "val": 3805, "testA": 1975, "testB": 1798},
    ("refcocog", "umd"): {"train": 42226, "val": 2573, "test": 5023},
    ("refcocog", "google"): {"train": 44822, "val": 5000},
    ("refcoco", "google"): {"train": 40000, "val": 5000, "test": 5000},
}


@dataclass(frozen=True)
class Ref:
    """An object, or several, and what was said about it. ann_ids: none for nobody (gRefCOCO).

    texts: `raw` where it is given, with capitals and punctuation. annotation, image: COCO's records, where the file has
    them.
    """

    ref_id: int | str
    image_id: int
    ann_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    split: str
    texts: tuple[str, ...]
    where: str
    annotation: Mapping[str, Any] | None = None
    image: Mapping[str, Any] | None = None

    def in_split(self, wanted: str) -> bool:
        """`test` is any split of that name; the parquet files call testA `test`, and val `validation`."""
        if wanted == "test":
            return "test" in self.split
        return self.split == wanted or (self.split, wanted) in (("test", "testA"), ("validation", "val"))


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts, numbers and text, and nothing else: other pickles can run programs."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only lists, dicts, numbers and text are read")


def find_refs(folder: Path, name: str, split_by: str) -> Path:
    """The refs file of a set: `folder` itself, or in it or in its sub-folder of the set's name, nested twice or not."""
    if folder.is_file():
        return folder
    own = _FOLDERS.get(name, (name,))
    places = [folder, *(folder / sub for sub in own), *(folder / sub / sub for sub in own)]
    for place in places:
        for stem in (f"refs({split_by})", f"grefs({split_by})"):
            for suffix in SUFFIXES:
                if (place / f"{stem}{suffix}").is_file():
                    return place / f"{stem}{suffix}"
    raise UserError(
        f"{folder}: holds no refs({split_by}).p of {name}, and neither does {folder / own[0]}; "
        "expected the folder of a data set, or its refs file (.p, .json or .parquet)"
    )


def count_refs(name: str, split_by: str, split: str) -> int:
    """How many refs a split of a set has. UserError if the set has no such split, or nobody of that name split it."""
    splits = {by: counts for (known, by), counts in KNOWN_REFS.items() if known == name}
    if split_by not in splits:
        raise UserError(f"--split-by {split_by}: {name} was split by {' and '.join(splits)} only")
    if split not in splits[split_by]:
        raise UserError(f"--split {split}: {name} ({split_by}) has the splits {', '.join(splits[split_by])}")
    return splits[split_by][split]


def read_refs(path: Path) -> list[Ref]:
    """Every ref of a file. DataError names the file, and the ref that is none."""
    records = _READERS.get(path.suffix, _unknown)(path)
    if not isinstance(records, list) or not records:
        raise DataError(f"{path}: expected a list of refs, got {shown(records)}")
    return [_ref(record, f"{path}: ref {k}") for k, record in enumerate(records)]


def _unknown(path: Path) -> Any:
    raise DataError(f"{path}: expected a refs file that ends in {', '.join(SUFFIXES)}")


def _unpickled(path: Path) -> Any:
    try:
        # Python 2 wrote them: its texts are bytes, which latin-1 keeps as they are.
        return _mended(_PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin-1").load())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # of a broken pickle, anything
        raise DataError(f"{path}: cannot be read as a pickle of refs: {reason_of(error)}") from error


def _mended(value: Any) -> Any:
    """UTF-8 that was read as latin-1, as text again."""
    if isinstance(value, str) and not value.isascii():
        try:
            return value.encode("latin-1").decode("utf-8")
        except UnicodeError:  # it was text already
            return value
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


def read_json(path: Path) -> Any:
    """A JSON file. DataError if it is none."""
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{path}: is no JSON: {reason_of(error)}") from error


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """ "file:line" and the object of each line that is not blank. DataError on any other line."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise DataError(f"{path}:{number}: expected a JSON object, got {shown(record)}")
                    yield f"{path}:{number}", record
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}:{number}: is no JSON: {reason_of(error)}") from error


def _from_parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{path}: Parquet needs pyarrow: pip install pyarrow") from error
    wanted = {"ref_id", "ann_id", "image_id", "category_id", "split", "sentences", "raw_anns", "raw_image_info"}
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in wanted]
            return file.read(columns=columns).to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as parquet: {reason_of(error)}") from error


_READERS = {".p": _unpickled, ".json": read_json, ".parquet": _from_parquet}


def _ref(record: Any, where: str) -> Ref:
    try:
        ann_ids = tuple(int(i) for i in _listed(record["ann_id"]) if i is not None and int(i) > 0)
        nobody = bool(record.get("no_target", False))
        texts = tuple(str(s.get("raw") or s.get("sent") or "") for s in record["sentences"])
        categories = tuple(int(i) for i in _listed(record.get("category_id")) if i is not None)
        annotation, image = (_embedded(record.get(key)) for key in ("raw_anns", "raw_image_info"))
        return Ref(
            ref_id=record["ref_id"],
            image_id=int(record["image_id"]),
            ann_ids=() if nobody else ann_ids,
            category_ids=categories,
            split=str(record["split"]),
            texts=texts,
            where=f"{where} (ref_id {record['ref_id']})",
            annotation=annotation,
            image=image,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        expected = "a ref with ref_id, ann_id, image_id, split and sentences"
        raise DataError(f"{where}: expected {expected}, got {shown(record)} ({error!r})") from error


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _embedded(value: Any) -> dict[str, Any] | None:
    """A record of COCO that is kept as JSON text."""
    found = json.loads(value) if isinstance(value, str) and value else value
    return found if isinstance(found, dict) else None
