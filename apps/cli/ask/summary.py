"""What came of a question of `refhcm ask`, in plain words."""

from collections.abc import Sequence

from ....utils.errors import printable
from .lines import Record
from .records import people_of

SHOWN = 10  # sentences; beyond them, their number
DOUBTFUL = 0.5  # `found` below which it is said that probably nobody fits


def sentences(records: Sequence[Record]) -> list[str]:
    """A sentence for each of the first records."""
    lines = [f"{printable(record['image'])}: {printable(outcome(record))}" for record in records[:SHOWN]]
    return lines + [f"... and {len(records) - SHOWN} more"] * (len(records) > SHOWN)


def outcome(record: Record) -> str:
    """How many people fit, where the one is, or what the caption says; and what is wrong with it."""
    if "error" in record:
        return f"not answered: {record['error']}"
    question = record["question"]
    people = people_of(record)
    wrong = next((person["notes"][0] for person in people if not person["valid"] and person["notes"]), None)
    if "find" in question:
        words = _how_many([person for person in people if person["box"] is not None], people, question)
    else:
        words = _where(people[0], question)
    return words if wrong is None else f"{words} ({wrong})"


def _how_many(boxed: Sequence[Record], people: Sequence[Record], question: Record) -> str:
    if people and not boxed:
        return "the answer cannot be read"
    least = f" with a confidence of {question['min_confidence']:g} or more" if "min_confidence" in question else ""
    count = {0: "nobody fits", 1: "1 person fits"}.get(len(boxed), f"{len(boxed)} people fit")
    return f'{count} "{question["find"]}"{least}'


def _where(answer: Record, question: Record) -> str:
    if answer["caption"] is not None and "refer" not in question:
        return str(answer["caption"])
    if "instruct" in question:
        return str(answer["text"])
    whom = f'"{question["refer"]}"' if "refer" in question else "the person in the box"
    if answer["box"] is None:
        return f"nobody can be shown for {whom}{_sure(answer)}"
    box = ", ".join(f"{edge:.0f}" for edge in answer["box"])
    caption = f": {answer['caption']}" if answer["caption"] is not None else ""
    return f"{whom} is in the box {box}{_with(answer)}{_sure(answer)}{caption}"


def _with(answer: Record) -> str:
    points, parts = answer["keypoints"], answer["parts"]
    found = [] if points is None else [counted(sum(point["visible"] for point in points), "keypoint")]
    found += [] if parts is None else [counted(len(parts), "part")]
    return f", with {' and '.join(found)}" if found else ""


def counted(number: int, word: str) -> str:
    """Such as "1 part" and "2 parts"."""
    return f"{number} {word}{'s' * (number != 1)}"


def _sure(answer: Record) -> str:
    box, found = answer["confidence"]["box"], answer.get("found")
    parts = [] if box is None else [f"confidence {box:.2f}"]
    if found is not None:
        doubt = ": probably nobody here fits" if found < DOUBTFUL else ""
        parts.append(f"found {found:.2f}{doubt}")
    return f", {', '.join(parts)}" if parts else ""


def is_plain(record: Record) -> bool:
    """Whether the drawn answer says it all: there is somebody, and nothing is wrong."""
    people = people_of(record)
    doubtful = [person["found"] for person in people if person.get("found") is not None and person["found"] < DOUBTFUL]
    return bool(people) and all(person["valid"] for person in people) and not doubtful
