"""What every test may ask for: the golden numbers, the real vocabulary, a tiny world."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no {folder}: name a folder with ${variable}")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the golden numbers, $REFHCM_GOLDEN or ../shared/golden."""
    return _folder("REFHCM_GOLDEN", SHARED / "golden")


@pytest.fixture(scope="session")
def bpe_dir() -> Path:
    """Folder of the real vocabulary, $REFHCM_BPE or ../shared/bpe."""
    return _folder("REFHCM_BPE", SHARED / "bpe")
