"""The folder of one running page: uploads and answers. It is swept while the page runs and gone when the page ends."""

import logging
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...utils.files import lock

logger = logging.getLogger(__name__)
PREFIX = "refhcm-page-"
KEPT_SECONDS = 3600  # how long uploads and answers are kept
LOCK = "lock"  # locked as long as the page runs: the system unlocks it even after SIGKILL
BUDGET = 2 * 2**30  # bytes of all uploads and answers
FILE_COST = 2**16  # bytes that count for each file beside its own: many small ones are a burden, too
FULL = 0.9  # of the budget is left when files had to go, so that the next upload need not look at all of them
EVERY_SECONDS = 60  # between two sweeps
UPLOAD_SECONDS = 900  # an upload must arrive within this time


@contextmanager
def page_folder() -> Iterator["Folder"]:
    """A folder for a page, removed at the end. Also removes what pages that were killed have left behind."""
    remove_abandoned(Path(tempfile.gettempdir()))
    root = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with open(root / f"{LOCK}.new", "w") as file:
            lock(file)
            os.rename(file.name, root / LOCK)  # there is no moment at which the lock is there but free
            (root / "files").mkdir()
            yield Folder(root / "files")
    finally:
        _remove(root)


def remove_abandoned(parent: Path) -> None:
    """Removes the folders of this user's pages that no longer run."""
    if sys.platform == "win32":  # has no such locks
        return
    for root in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # gone meanwhile, or its page runs (BlockingIOError)
            found = root.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            with open(root / LOCK, "rb") as file:
                lock(file)
                _remove(root)


def _remove(root: Path) -> None:
    for _ in range(20):  # an upload may still be written while its folder is removed
        shutil.rmtree(root / "files", ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)  # the lock last: without it, no later start would remove the rest
        if not root.exists():
            return
        time.sleep(0.1)
    logger.error("%s: cannot be removed; delete it", root)


class Folder:
    """Uploads and answers. Uploads that have not fully arrived lie at the top, all other files in folders.

    What lies at the top from before the first upload that still arrives is left over: of a form with other fields.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.budget = min(BUDGET, shutil.disk_usage(path).free // 2)
        self._taken = 0  # bytes on the disk at the last sweep, and of all uploads since
        self._arriving: dict[object, tuple[float, int]] = {}  # since when, and bytes, of uploads on their way
        self._kept: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    @contextmanager
    def swept(self) -> Iterator[None]:
        """Keeps the files that are there now (the page's examples), and sweeps all others from time to time."""
        self._kept = frozenset(file for _, _, file in self._files())
        self.sweep()
        ended = threading.Event()

        def sweep() -> None:
            while not ended.wait(EVERY_SECONDS):
                self.sweep()

        thread = threading.Thread(target=sweep, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def room(self, size: int) -> Iterator[bool]:
        """Whether an upload of `size` bytes may arrive within this context. Makes room for it."""
        size, ticket = size + FILE_COST, object()
        with self._lock:
            if self._taken + size > self.budget:
                self._sweep(size)
            granted = self._taken + size <= self.budget
            if granted:
                self._taken += size
                self._arriving[ticket] = time.time(), size
        try:
            yield granted
        finally:
            with self._lock:
                self._arriving.pop(ticket, None)

    def sweep(self) -> None:
        """Deletes files that are too old, and the oldest ones beyond the budget."""
        with self._lock:
            self._sweep(0)

    def _sweep(self, wanted: int) -> None:
        now = time.time()
        files = sorted(self._files())
        since = min((since for since, _ in self._arriving.values()), default=now) - 1  # files' times are coarse
        total = sum(size for _, size, _ in files) + sum(size for _, size in self._arriving.values()) + wanted
        limit = self.budget if total <= self.budget else FULL * self.budget
        for changed, size, file in files:
            at_top = os.path.dirname(file) == str(self.path)
            arriving = at_top and changed >= since
            old = now - changed > (UPLOAD_SECONDS if at_top else KEPT_SECONDS)
            if file not in self._kept and (old or (total > limit and not arriving)):
                with suppress(OSError):
                    os.unlink(file)
                    total -= size
        for root, _, _ in os.walk(self.path, topdown=False):
            with suppress(OSError):  # not empty, or gone
                if root != str(self.path) and now - os.lstat(root).st_mtime > UPLOAD_SECONDS:
                    os.rmdir(root)
        self._taken = total - wanted

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """When it was last changed, bytes on the disk, and path of every regular file."""
        for root, _, names in os.walk(self.path):
            for name in names:
                file = os.path.join(root, name)
                with suppress(OSError):  # gone meanwhile
                    found = os.lstat(file)
                    if stat.S_ISREG(found.st_mode):
                        yield found.st_ctime, found.st_size + FILE_COST, file
