"""The Hugging Face hub: its address, and its errors in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UserError, reason_of
from .answers import FetchError, check_address


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or the usual one. UserError: it is no address."""
    from huggingface_hub import constants

    address = os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT
    check_address(address)
    return address


@contextmanager
def hub_errors(where: str, *, kind: str = "model", offline: bool = False, besides: str = "") -> Iterator[None]:
    """The hub's errors as a FetchError of one line; a UserError passes.

    where: the repository. offline: nobody was to be asked. besides: what else the user may have meant by that name.
    """
    from huggingface_hub import errors

    try:
        yield
    except UserError:
        raise
    except errors.RevisionNotFoundError as error:
        raise FetchError(f"{where}: the hub has no such revision") from error
    except errors.GatedRepoError as error:
        raise FetchError(f"{where}: needs an account with access; run `hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        raise FetchError(f"{where}: {besides}the hub has no such {kind}, or it is private") from error
    except errors.HFValidationError as error:
        raise FetchError(f"{where}: {besides}not the name of a repository, expected OWNER/NAME") from error
    except errors.LocalEntryNotFoundError as error:
        why = "is not among the downloads, and asking the hub is off" if offline else "the hub cannot be reached"
        raise FetchError(f"{where}: {besides}{why} ({endpoint()})") from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]  # of requests or httpx, by hub version
        raise FetchError(f"{where}: the request to {endpoint()} failed ({reason_of(error)})") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:  # a page, bad or deep JSON
        why = f"{type(error).__name__}: {reason_of(error)}"
        raise FetchError(f"{where}: {endpoint()} does not answer as a hub does ({why})") from error
