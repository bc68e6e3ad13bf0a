"""Which network addresses may be reached for somebody: public ones only, whatever way they are written.

A name is resolved once, every address behind it is checked, and the connection goes to an address that was checked.
Called by tools and by sources of documents; opens no connection itself.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Collection
from typing import Any

from loomd.errors import ToolFailed

_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.64.0.0/10",  # carrier-grade NAT
        "192.0.0.0/24",  # protocol assignments, among them a cloud's metadata
        "192.88.99.0/24",  # 6to4 relays
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local
        "2001::/23",  # protocol assignments, among them Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local
    )
)


def is_public(text: str) -> bool:
    """Return whether an IP address is an ordinary public one.

    Private, loopback, link-local, metadata, multicast, reserved and translated addresses are not.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == net.version and address in net for net in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class PublicResolver:
    """Resolves names for aiohttp and refuses those that lead anywhere but to public addresses."""

    def __init__(self, owner: str, allowed: Collection[str]) -> None:
        """Set whom to blame and which hosts may be private.

        Args:
            owner: what has the field `allowHosts`, for the message: `Tool/name spec`.
            allowed: host names and addresses that may be private, as written in the URL.
        """
        self._owner = owner
        self._allowed = {host.lower() for host in allowed}

    def check_literal(self, host: str) -> None:
        """Refuse a host that is an address, which is never resolved, unless it is public or allowed.

        Raises:
            ToolFailed: the address may not be reached.
        """
        bare = host.strip("[]").lower()
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            return
        if bare not in self._allowed and not is_public(bare):
            raise self._refusal(host)

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[dict[str, Any]]:
        """Return the addresses of a name in the shape that aiohttp expects.

        Raises:
            ToolFailed: the name is unknown, or one of its addresses may not be reached.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ToolFailed(f'the host "{host}" cannot be resolved: {error}') from error
        addresses = [(str(address[0]), family_, proto) for family_, _, proto, _, address in found]
        if host.lower() not in self._allowed and not all(is_public(address) for address, _, _ in addresses):
            raise self._refusal(host)
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": family_,
                "proto": proto,
                "flags": socket.AI_NUMERICHOST,
            }
            for address, family_, proto in addresses
        ]

    async def close(self) -> None:
        """Release nothing: there is nothing to release."""

    def _refusal(self, host: str) -> ToolFailed:
        return ToolFailed(
            f'the host "{host}" is not on the public internet, and {self._owner}.allowHosts does not list it'
        )
