"""What an address is counted under, and banned by: an IPv4 address alone, an IPv6 address with its whole /64.

The /64 is what one subscriber gets, who may take any of its 2^64 addresses (RFC 6177, RFC 8981).
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

SITE_BITS: Final = 64


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """As the system or a proxy writes it: without its zone, and IPv4 within IPv6 as IPv4; None if it is no address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def source_of(address: str) -> str:
    """The name under which all that come from the same place are counted."""
    if ":" not in address:  # IPv4, or a Unix socket, which has none
        return address
    found = parsed(address)
    if not isinstance(found, IPv6Address):
        return address if found is None else str(found)
    return f"{IPv6Address(int(found) >> SITE_BITS << SITE_BITS)}/{SITE_BITS}"
