"""Whether a gateway would be reachable from elsewhere without asking for keys."""

from gateway.config import Settings, is_loopback


def open_addresses(settings: Settings, *, listen: str, control: str) -> list[str]:
    """Return a sentence for each address beyond this machine that asks for no key.

    Parameters
    ----------
    listen, control : str
        The addresses that are really used: the command line may name others than the file.
    """
    problems = []
    if not is_loopback(listen) and not settings.gateway.keys:
        problems.append(
            f"`gateway.listen` is `{listen}`, reachable from elsewhere, and `gateway.keys`"
            " is empty; add a key, listen on 127.0.0.1, or say --insecure"
        )
    if not is_loopback(control) and settings.gateway.admin_key is None:
        problems.append(
            f"`gateway.control` is `{control}`, reachable from elsewhere, and"
            " `gateway.admin_key` is not set; set it, listen on 127.0.0.1, or say --insecure"
        )
    return problems
