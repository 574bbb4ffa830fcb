"""The options with which a peer is added or invited, as words behind its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.private_files import read_secret

if TYPE_CHECKING:
    from vport.wireguard.config import PeerSection

_KEYS: Final = {
    "port": "Port",
    "vlan": "Vlan",
    "tagged": "TaggedVlans",
    "mac": "Macs",
    "macs": "MaxMacs",
    "address": "AllowedIPs",
    "keepalive": "PersistentKeepalive",
    "broadcasts": "Broadcasts",
    "psk": "PresharedKey",
}
"""What an option is called in a file."""

_KEY_SIZE: Final = 44  # characters of a key

OPTIONS_HELP: Final = (
    "ip port=N vlan=N tagged=N,N mac=M,M macs=N address=A keepalive=N broadcasts=on psk=@FILE"
)


def split_key(word: str | None, rest: str | None) -> tuple[str | None, str]:
    """Give the public key and the options of what follows a peer's name; ``word`` is the one or the other.

    An option has something behind its ``=``, a key in base64 has not.

    Raises:
        SettingsError: it is neither.
    """
    if word is None:
        return None, ""
    if word == "ip" or word.partition("=")[2]:
        return None, f"{word} {rest or ''}"
    if len(word) != _KEY_SIZE:
        raise SettingsError(
            f"PUBKEY must be {_KEY_SIZE} characters of base64, as vport pubkey prints them; "
            f"without it, keys are made, and options may follow: {OPTIONS_HELP}"
        )
    return word, rest or ""


def read_options(name: str, public_key: str | None, text: str) -> PeerSection:
    """Make a peer of its name, its key and the options in ``text``; without a key it has a placeholder.

    Raises:
        SettingsError: an option is unknown, or not what it must be.
    """
    from vport.wireguard.config_file import parse_peers

    if "#" in name or not name.isprintable():
        raise SettingsError(f"{name!r} is no name: it has a # or what cannot be printed")
    lines = ["[Peer]", f"Name = {name}", f"PublicKey = {public_key or _PLACEHOLDER}"]
    words = text.split()
    mode = "ip" if "ip" in words else "ethernet"
    lines.append(f"Mode = {mode}")
    for word in words:
        if word == "ip":
            continue
        option, equals, value = word.partition("=")
        if option not in _KEYS or not equals:
            raise SettingsError(f"{word!r} is no option: ip, {'=, '.join(_KEYS)}=")
        lines.append(f"{_KEYS[option]} = {_value(option, value)}")
    try:
        (section,) = parse_peers("\n".join(lines))
    except SettingsError as error:
        raise SettingsError(str(error).partition(": ")[2]) from None  # there are no lines to speak of
    if mode == "ip" and (section.tagged_vlans or section.macs or section.max_macs):
        raise SettingsError("tagged, mac and macs are not for a stock client: it is one station, untagged")
    return section


def _value(option: str, value: str) -> str:
    if "#" in value or not value.isprintable():
        raise SettingsError(f"{option}={value!r} has characters that no option has")
    if option != "psk":
        return value
    if not value.startswith("@"):
        raise SettingsError("psk must be @FILE: this shell's history is no place for secrets")
    return read_secret(value[1:], "preshared key").strip()


_PLACEHOLDER: Final = "A" * 42 + "I="  # 32 bytes of zeros, but for the last
