"""How the page ends: by the first signal, whose cleaning up no further signal interrupts."""

import signal
from collections.abc import Callable

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP: the terminal was closed; Windows has none


class Stop:
    """Takes over the signals that end a program, for good: what follows `during` is to be cleaning up."""

    def __init__(self) -> None:
        self.asked = self._running = False
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # ignored under nohup
                signal.signal(number, self._ask)

    def during(self, work: Callable[[], None]) -> None:
        """Runs `work` until it ends or the first signal comes. Signals before and after only set `asked`."""
        try:
            self._running = True
            if not self.asked:
                work()
        except KeyboardInterrupt:
            self.asked = True
        finally:
            self._running = False

    def _ask(self, *_: object) -> None:
        first, self.asked = not self.asked, True
        if first and self._running:
            raise KeyboardInterrupt
