"""Who sends by a channel."""

from __future__ import annotations

from ..config import NotifyConfig
from ..errors import ConfigurationError
from .channels import (
    MAIL_SCHEMES,
    VENDORS,
    WEBHOOK_SCHEMES,
    read_mail_server,
    read_webhook,
    scheme_of,
    unusable,
)
from .notifier import Notifier
from .provider_registry import ProviderKind, registry


def open_channel(name: str, url: str, settings: NotifyConfig) -> Notifier:
    """Whoever sends by a channel. Opens no connection and loads no library before it first sends.

    Raises:
        ConfigurationError: the address cannot be used; says what is wrong, not what it holds.
    """
    scheme = scheme_of(url)
    # Imported here and only the one that is needed: whoever imports the package should not wait for all of them.
    if scheme in MAIL_SCHEMES:
        from .providers.smtp_mail import SmtpMail

        return SmtpMail(read_mail_server(name, url), settings)
    if scheme in WEBHOOK_SCHEMES:
        from .providers.webhook import WebhookPost

        return WebhookPost(read_webhook(name, url), settings)
    if scheme in VENDORS:
        from .providers.apprise_vendor import AppriseVendor

        return AppriseVendor(name, url, settings)
    try:
        registry.find(ProviderKind.NOTIFIER, scheme)
    except ConfigurationError as error:
        raise unusable(name, f"has a scheme that nobody sends by: {error}") from error.__cause__
    brought: Notifier = registry.make(ProviderKind.NOTIFIER, scheme, url, settings)
    return brought
