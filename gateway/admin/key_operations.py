"""What the admin API asks of the gateway about its keys: the values, and the operations that the runtime implements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.admin.operations import Actor
    from gateway.certs.keyring import CloudKey


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A key that seals private keys and passwords, or did until ``decrypt_only_since``."""

    id: str
    created: datetime
    encrypt_since: datetime
    decrypt_only_since: datetime | None


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """Which keys there are. ``key_arn`` and ``region`` are "" in local mode.

    ``regenerating`` is since when everything is being sealed anew, None when it is not.
    """

    mode: str
    key_arn: str
    region: str
    store: str
    root_master_key: str
    root_master_key_created: datetime
    master_keys: tuple[MasterKey, ...]
    regenerating: datetime | None


@dataclass(frozen=True, slots=True)
class Regeneration:
    """How far it is: ``done`` of ``total`` sealed rows have been looked at."""

    state: Literal["idle", "running", "interrupted"]
    done: int
    total: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Regenerated:
    """What came of it. ``unreadable`` rows could not be opened before, either; ``secret_file`` is "" when the admin
    secret is a configured one; ``certificates`` are the names of the gateway's own that were made anew.
    """

    resumed: bool
    sealed: int
    unreadable: int
    secret_file: str = ""
    certificates: tuple[str, ...] = ()
    keys: KeyStatus | None = None


class KeyOperations(Protocol):
    """The keys of the gateway. Every change returns when it is durable."""

    async def status(self) -> KeyStatus:
        """Tell which keys there are. Raises StoreError."""

    async def set_mode(self, cloud: CloudKey | None, actor: Actor) -> KeyStatus:
        """Have another customer master key: of the cloud, or with None a root key of this host.

        Raises ConflictError, KeyServiceError and StoreError, and then nothing has changed.
        """

    async def regenerate(self, actor: Actor) -> Regenerated:
        """Make new keys and secrets, and seal everything anew; go on with what was interrupted, join what is under way.

        Raises KeyServiceError when nothing has changed, and StoreError when it has to be asked for again.
        """

    async def regeneration(self) -> Regeneration:
        """Tell how far it is. Raises StoreError."""
