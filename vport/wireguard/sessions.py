"""Which keypairs a peer has, and which of them sends (WG 6; wireguard.md section 6).

The index table names keypairs and pending handshakes of all peers of a device; the slots are one peer's.
An index lives exactly as long as what it names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from vport.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.wireguard.keypair import Keypair
    from vport.wireguard.keys import Entropy

Owner = TypeVar("Owner")


class IndexTable(Generic[Owner]):
    """Random u32 names for what messages from outside are meant for, each with its owner."""

    __slots__ = ("_entries", "_entropy")

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._entries: dict[int, tuple[Owner, Keypair | None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def allocate(self, owner: Owner) -> int:
        """Draw a free index, for a pending handshake of ``owner``."""
        while True:
            index = int.from_bytes(self._entropy(4), "little")
            if index not in self._entries:
                self._entries[index] = (owner, None)
                return index

    def assign(self, owner: Owner, keypair: Keypair) -> None:
        """Let the keypair's index, drawn before, name the keypair."""
        self._entries[keypair.local_index] = (owner, keypair)

    def free(self, index: int) -> None:
        """Forget an index."""
        del self._entries[index]

    def find(self, index: int) -> tuple[Owner, Keypair | None] | None:
        """Give the owner of an index and the keypair, or None in its place for a pending handshake."""
        return self._entries.get(index)


class Slots(Generic[Owner]):
    """The keypairs of one peer: ``previous`` and ``next`` only receive, ``current`` sends too.

    ``previous`` exists for what is still under way when keys change. The peer sends on one keypair only,
    so the one to keep is the one it was last heard on. That is ``current`` in an ordinary handshake, as
    stock implementations have it, but need not be after initiations crossed.
    """

    __slots__ = ("_owner", "_table", "current", "next", "previous")

    def __init__(self, owner: Owner, table: IndexTable[Owner]) -> None:
        self._owner = owner
        self._table = table
        self.previous: Keypair | None = None
        self.current: Keypair | None = None
        self.next: Keypair | None = None

    def __iter__(self) -> Iterator[Keypair]:
        return (pair for pair in (self.previous, self.current, self.next) if pair is not None)

    def initiated(self, keypair: Keypair) -> bool:
        """Take the keypair of a handshake that we started; True where initiations crossed."""
        crossed = self.next is not None
        kept = self.next or self._last_heard()
        self._set(previous=kept, current=keypair, following=None)
        return crossed

    def responded(self, keypair: Keypair) -> None:
        """Take the keypair of a handshake that the peer started: it sends once the peer has used it.

        Unlike in stock implementations ``previous`` stays until then, because after a crossing it is
        the one that the peer still sends on.
        """
        self._set(previous=self.previous, current=self.current, following=keypair)

    def confirmed(self) -> None:
        """The peer has used ``next``: send with it from now on.

        Raises:
            LocalProtocolError: there is no ``next``.
        """
        if self.next is None:
            raise LocalProtocolError("no keypair waits for its confirmation")
        self._set(previous=self._last_heard(), current=self.next, following=None)

    def clear(self) -> None:
        """Forget all keys."""
        self._set(previous=None, current=None, following=None)

    def _last_heard(self) -> Keypair | None:
        """Choose between ``previous`` and ``current``: the one the peer used last, else the newer one."""
        if self.previous is None or self.current is None:
            return self.current or self.previous
        heard = self.previous.heard_at, self.current.heard_at
        if heard[0] is not None and (heard[1] is None or heard[1] < heard[0]):
            return self.previous
        return self.current

    def _set(self, *, previous: Keypair | None, current: Keypair | None, following: Keypair | None) -> None:
        old = set(self)
        self.previous, self.current, self.next = previous, current, following
        new = set(self)
        for keypair in old - new:
            self._table.free(keypair.local_index)
        for keypair in new - old:
            self._table.assign(self._owner, keypair)
