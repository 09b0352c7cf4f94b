"""The columns of each task's table (docs/data.md): what can be read of one without torch."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Table:
    """columns: what a task needs, in the order of `default_cols`, their places in the published files.

    image_folder: below the annotation root, where the table names files. asks_by_box: a row whose expression is `None`
    asks by its box.
    """

    columns: tuple[str, ...]
    default_cols: str
    image_folder: str = ""
    asks_by_box: bool = False


_PARSING = Table(("id", "image", "expression", "box", "codes", "mask"), "0,5,1,2,3,4", "imgs", asks_by_box=True)
TABLES = {
    "refcoco": Table(("id", "image", "expression", "box"), "0,4,2,3"),
    "grec": Table(("id", "image", "expression", "boxes"), "0,4,2,3"),
    "rkpt": Table(("id", "image", "expression", "box", "keypoints"), "0,5,2,3,4", asks_by_box=True),
    "rpar": _PARSING,
    "rpar_full_mask": replace(_PARSING, asks_by_box=False),
    "rhrc": Table(("id", "image", "box", "caption"), "0,3,2,1"),
}
