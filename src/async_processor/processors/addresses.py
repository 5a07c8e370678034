"""Keys and addresses of providers, checked before anything is sent with them or to them."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..errors import ConfigurationError

# Client libraries want a key; servers of one's own mostly look at none.
NO_KEY = "no-key-needed"
_VENDOR_HOSTS = ("openai.com", "anthropic.com")


def is_at_vendor(base_url: str | None) -> bool:
    """Whether an address is a vendor's own, so that what it switched off is not to be had; None stands for one."""
    host = (urlsplit(base_url).hostname or "") if base_url else _VENDOR_HOSTS[0]
    return any(host == vendor or host.endswith(f".{vendor}") for vendor in _VENDOR_HOSTS)


def checked_key(key: str) -> str:
    """A key without the space around it.

    Raises:
        ConfigurationError: it is none.
    """
    key = key.strip()  # keys read from files end in a line break
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("the API key is empty or holds characters that no key has; check where it comes from")
    return key


def checked_url(url: str | None, settings: str, *, prefix: str = "") -> str | None:
    """An address as it is, if it can be used.

    Args:
        settings: the class of settings that holds address and key; part of the message.
        prefix: what their names there begin with.

    Raises:
        ConfigurationError: it cannot, or holds what would be logged with it.
    """
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ConfigurationError(f"{prefix}base_url must be an address such as 'http://127.0.0.1:11434/v1'")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        # Addresses are logged by the client libraries; keys are not.
        raise ConfigurationError(
            f"{prefix}base_url must hold no password and no parameters; give a key as {settings}.{prefix}api_key"
        )
    return url
