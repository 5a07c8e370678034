"""What drivers of databases raise, told in words that hold neither passwords nor values.

Databases put values into their messages: the key that is there already, the text that is no number. So a message is
only passed on where it speaks of the statement and the schema, and what was bound is taken out of it even then. All
that was said goes to the log at DEBUG, again without what was bound.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ...errors import AsyncProcessorError, AuthenticationError, ConfigurationError, PermanentError, ProviderError
from . import failures

logger = logging.getLogger("async_processor.database")

_MAX_CHAIN = 10
_MAX_CHARS = 300
_SHORT = 4


@dataclass(slots=True)
class Situation:
    """What was going on when it failed.

    Attributes:
        connection: name of the connection.
        secrets: what must not be told: the password, and every value that was bound.
        connected: whether there was a connection.
        committing: whether the database had been told to commit.
    """

    connection: str
    secrets: list[str] = field(default_factory=list)
    connected: bool = False
    committing: bool = False

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return f"database connection {self.connection!r}"

    def hide(self, value: Any) -> None:
        """Take a value that will be bound, or what is in it, for one that must not be told."""
        if isinstance(value, Mapping):
            self.hide(list(value.values()))
        elif isinstance(value, list | tuple):
            for item in value:
                self.hide(item)
        elif value is not None and not isinstance(value, bool):
            self.secrets.append(str(value))

    def cleaned(self, message: object) -> str:
        """One line of a message, without anything that must not be told."""
        text = str(message)
        for secret in sorted(self.secrets, key=len, reverse=True):
            if secret and secret in text:
                whole = re.escape(secret)
                # A short one is likely to be part of a word that has nothing to do with it.
                text = re.sub(rf"(?<!\w){whole}(?!\w)" if len(secret) < _SHORT else whole, "[value]", text)
        # Cut only after the values are out: half of one must not be left at the cut.
        return ascii(text.strip().partition("\n")[0][:_MAX_CHARS])[1:-1]


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those behind it, the driver's own among them."""
    return islice(failures.chain(error, "orig"), _MAX_CHAIN)


def permanent(situation: Situation, reason: str) -> PermanentError:
    """For what no other attempt mends."""
    return PermanentError(f"{situation.name} refuses the operation: {reason}")


def retryable(situation: Situation, reason: str, *, undone: bool = False) -> ProviderError:
    """For what another attempt may mend.

    Args:
        undone: whether the database itself says that the transaction did not happen. A commit without an answer may.
    """
    unknown = situation.committing and not undone
    doubt = "; whether what was done has been committed is not known" if unknown else ""
    return ProviderError(f"{situation.name} did not do the operation: {reason}{doubt}")


def took_too_long(situation: Situation, seconds: float) -> PermanentError:
    """A statement that was stopped by its time limit. The next attempt would take as long."""
    limit = "DatabaseConfig.statement_timeout_s"
    return permanent(
        situation, f"a statement took longer than {seconds:g} s and was stopped; narrow it, or raise {limit}"
    )


def no_connection_in_time(situation: Situation, seconds: float) -> ProviderError:
    """All connections of the pool are in use, or a new one is not answered."""
    return retryable(situation, f"no connection within {seconds:g} s (DatabaseConfig.connect_timeout_s)")


def unforeseen(situation: Situation, error: BaseException) -> AsyncProcessorError:
    """For what has no code that says more."""
    kinds = ", ".join(dict.fromkeys(type(item).__name__ for item in chain(error)))
    if any(isinstance(item, OSError) for item in chain(error)):
        return retryable(situation, f"it cannot be reached ({kinds})")
    if not situation.connected and any(isinstance(item, TypeError | ValueError) for item in chain(error)):
        return ConfigurationError(f"{situation.name} cannot be opened ({kinds}): check the options in its URL")
    return permanent(situation, f"{kinds}; turn on DEBUG logging for what was said")


def authentication(situation: Situation, code: str) -> AuthenticationError:
    """The server does not know the user, or the password is wrong."""
    return AuthenticationError(f"{situation.name}: the server refused user or password ({code}); check its URL")


def missing_database(situation: Situation, code: str) -> ConfigurationError:
    """The URL leads to a server, but to no database there."""
    return ConfigurationError(f"{situation.name}: its server has no database of that name ({code}); check its URL")


def log(situation: Situation, error: BaseException) -> None:
    """What was said, for who looks for the cause."""
    if logger.isEnabledFor(logging.DEBUG):
        said = [f"{type(item).__name__}: {situation.cleaned(item)}" for item in chain(error)]
        logger.debug("%s: %s", situation.name, " <- ".join(said))
