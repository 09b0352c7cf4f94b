"""What can be wrong with a table, by name, and how bad it is (docs/data.md, "Checking a table")."""

from dataclasses import dataclass

ERROR, WARNING = "error", "warning"

Fault = tuple[str, str]  # kind, and what came


@dataclass(frozen=True)
class Kind:
    """expected: of a row without this fault. drawn: whether `refhcm view` can draw a row that has it."""

    severity: str
    expected: str
    drawn: bool = False


KINDS = {
    # Lines and columns
    "header-line": Kind(ERROR, "a row: tables have no header"),
    "blank-line": Kind(ERROR, "a row"),
    "column-count": Kind(ERROR, "as many columns as the other rows, and all that the task reads"),
    "not-utf8": Kind(ERROR, "text in UTF-8"),
    "bad-id": Kind(ERROR, "an id; in RefHuman's tables a whole number"),
    "repeated-id": Kind(ERROR, "an id of its own: answers are joined to rows by it"),
    "repeated-row": Kind(WARNING, "another picture, box or text", drawn=True),
    "image-id-reused": Kind(WARNING, "one picture for an image id", drawn=True),
    # Pictures
    "unreadable-picture": Kind(ERROR, "a picture that decodes to its end"),
    "turned-picture": Kind(WARNING, "boxes, keypoints and masks in pixels of the upright picture", drawn=True),
    # Boxes
    "bad-box": Kind(ERROR, "4 finite numbers x0,y0,x1,y1"),
    "box-order": Kind(ERROR, "x1 > x0 and y1 > y0"),
    "box-outside": Kind(ERROR, "a box that touches its picture"),
    "box-beyond-edge": Kind(WARNING, "a box within its picture", drawn=True),
    "small-box": Kind(WARNING, "sides of more than 1 px", drawn=True),
    "boxes-xywh": Kind(ERROR, "x0,y0,x1,y1: the boxes seem to be x,y,width,height"),
    "many-boxes": Kind(ERROR, "20 boxes or fewer"),
    "repeated-box": Kind(ERROR, "each box of a row once"),
    "nobody-with-box": Kind(ERROR, "no box where the id says that nobody fits"),
    # Keypoints
    "bad-keypoints": Kind(ERROR, "34 finite numbers, x,y of 17 keypoints"),
    "keypoint-outside": Kind(ERROR, "keypoints within the picture, to 1 px"),
    "keypoints-outside-box": Kind(WARNING, "most keypoints within the box, and none far from it", drawn=True),
    "keypoints-outside-boxes": Kind(WARNING, "4 of 5 keypoints of a table within their boxes"),
    "no-keypoints": Kind(WARNING, "a labelled keypoint", drawn=True),
    # Parsing maps
    "bad-codes": Kind(ERROR, "48 codes of the tokenizer"),
    "missing-codes": Kind(ERROR, "codes in every row, or in none"),
    "unreadable-mask": Kind(ERROR, "a label map, .npy or PNG"),
    "mask-size": Kind(ERROR, "a mask of its picture's size"),
    "mask-class": Kind(ERROR, "classes 0..19, or 255 where nobody labelled"),
    "empty-mask": Kind(ERROR, "labelled pixels in the box", drawn=True),
    "mask-outside-box": Kind(ERROR, "one person's mask: background outside the box", drawn=True),
    "mask-not-tight": Kind(WARNING, "the mask's tight box, half open, to 1 px", drawn=True),
    # Text
    "blank-text": Kind(ERROR, "an expression or a caption"),
    "blank-caption": Kind(WARNING, "a caption on both sides of &&", drawn=True),
    "none-text": Kind(ERROR, "text; `None` alone, of RKpt and RPar, names the box instead"),
    "separator-in-expression": Kind(WARNING, "one expression: only captions are separated by &&", drawn=True),
    "control-characters": Kind(WARNING, "visible letters", drawn=True),
    "mojibake": Kind(WARNING, "text that was decoded as it was encoded", drawn=True),
    # Sets
    "leak": Kind(ERROR, "pictures for training or for testing, not both"),
    "leak-other-set": Kind(WARNING, "no test picture of another data set in training"),
    "row-count": Kind(ERROR, "the data set's own counts; --partial for a part of it"),
    "manifest-rows": Kind(ERROR, "the rows that its manifest counts"),
}


@dataclass(frozen=True)
class Finding:
    """A fault and its row, counted from 0; None: of the whole table."""

    kind: str
    what: str
    row: int | None = None
    id: str = ""

    @property
    def severity(self) -> str:
        """ERROR or WARNING."""
        return KINDS[self.kind].severity

    @property
    def expected(self) -> str:
        """What a table without the fault has there."""
        return KINDS[self.kind].expected
