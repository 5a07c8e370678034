"""The routes, for Starlette and what is built on it. The only module that knows Starlette.

Nothing here needs to be started or stopped, because nobody does it for an application that is mounted in another:
what an event stream needs begins with the first and ends with the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING

from .. import __version__
from ..monitoring.health import HealthReport
from ..processor import AdvancedAsyncProcessor
from ..processors.extras import needs_extra
from .access import Access, Guarded
from .event_endpoint import EventEndpoint
from .event_feed import EventFeed, StreamSettings
from .own_checks import OwnCheck, OwnChecks
from .probes import Answer, ask, detail_answer, probe_answer

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

_NEEDED_FOR = "health and events over HTTP"


def health_routes(
    processor: AdvancedAsyncProcessor,
    *,
    access: Access | None = None,
    checks: Mapping[str, OwnCheck] | None = None,
) -> list[Route]:
    """``/livez`` (also ``/healthz``), ``/readyz`` and ``/health``, for an application's own list of routes.

    Args:
        processor: whose health; it need not be started yet.
        access: who may see ``/health``, which says more than yes or no; anybody if None.
        checks: what else must be well for work to be sent here, by name: async functions that raise if it is not.

    Raises:
        ConfigurationError: a name of a check cannot be used.
        MissingExtraError: the extra ``server`` is not installed.
    """
    with needs_extra("server", _NEEDED_FOR):
        from starlette.middleware import Middleware
        from starlette.routing import Route

    health = _Health(processor, OwnChecks(checks or {}))
    guards = [Middleware(Guarded, access)] if access is not None else []
    return [
        Route("/livez", health.livez),
        Route("/healthz", health.livez),
        Route("/readyz", health.readyz),
        Route("/health", health.detail, middleware=guards),
    ]


def create_app(
    processor: AdvancedAsyncProcessor,
    *,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    stream: StreamSettings | None = None,
    checks: Mapping[str, OwnCheck] | None = None,
) -> Starlette:
    """An application with the routes of ``health_routes`` and ``/events``, to be mounted or served as it is.

    ``app.state.end_streams()`` ends all open streams; the processor's shutdown does so by itself.

    Args:
        processor: starts and ends as its owner sees fit.
        token: what ``Authorization: Bearer`` must hold for ``/health`` and ``/events``; None to ask for none.
        hosts: names under which these two may be called; None for any.
        stream: bounds of the event streams.
        checks: as of ``health_routes``.

    Raises:
        ConfigurationError: an argument cannot be used.
        MissingExtraError: the extra ``server`` is not installed.
    """
    with needs_extra("server", _NEEDED_FOR):
        from starlette.applications import Starlette
        from starlette.routing import Route

    access, settings = Access(token, hosts), stream or StreamSettings()
    feed = EventFeed(processor, settings)
    events = Guarded(EventEndpoint(processor, feed, settings), access)
    health = health_routes(processor, access=access, checks=checks)
    app = Starlette(routes=[*health, Route("/events", events, methods=["GET"])])
    # A probe does not follow redirects.
    app.router.redirect_slashes = False
    app.state.end_streams = feed.end
    return app


class _Health:
    """The endpoints."""

    def __init__(self, processor: AdvancedAsyncProcessor, own: OwnChecks) -> None:
        self._processor = processor
        self._own = own

    async def livez(self, request: Request) -> Response:
        report = await ask(self._processor, self._processor.liveness)
        return _response(probe_answer("livez", report, verbose=_verbose(request), exclude=_excluded(request)))

    async def readyz(self, request: Request) -> Response:
        report = await self._with_own(self._processor.readiness)
        return _response(probe_answer("readyz", report, verbose=_verbose(request), exclude=_excluded(request)))

    async def detail(self, request: Request) -> Response:
        report = await self._with_own(self._processor.health)
        return _response(detail_answer(report, release=__version__, exclude=_excluded(request)))

    async def _with_own(self, question: Callable[[], Awaitable[HealthReport]]) -> HealthReport:
        # Side by side: together they must not take longer than a probe waits.
        report, own = await asyncio.gather(ask(self._processor, question), self._own.look())
        return HealthReport((*report.checks, *own))


def _verbose(request: Request) -> bool:
    return "verbose" in request.query_params


def _excluded(request: Request) -> list[str]:
    return request.query_params.getlist("exclude")


def _response(answer: Answer) -> Response:
    from starlette.responses import Response

    return Response(answer.body, answer.status, answer.headers, answer.media_type)
