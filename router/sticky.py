"""What a user is known by, so that they stay with their variant."""

from collections.abc import Callable

from router.config import RouteConfig

USER_HEADER = b"x-driftgate-user"


def sticky_key_of(
    route: RouteConfig, *, header: Callable[[bytes], bytes | None], body_user: str | None
) -> bytes | None:
    """Return the sticky key of a request, None when nothing in it names a user.

    Parameters
    ----------
    route : RouteConfig
        Its `sticky` decides: `user` is the header ``x-driftgate-user``, else what the body says;
        `header:NAME` is that header alone; `none` is never.
    header : callable
        Looks up a request header by its name in lower case.
    body_user : str, optional
        The body's `user`, else its `safety_identifier`.
    """
    if route.sticky == "none":
        return None
    if route.sticky != "user":
        return header(route.sticky.removeprefix("header:").lower().encode()) or None
    named = header(USER_HEADER)
    if named:
        return named
    # JSON strings may hold lone surrogates, which strict UTF-8 cannot write.
    return body_user.encode("utf-8", "surrogatepass") if body_user else None
