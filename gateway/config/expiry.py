"""When the end of a certificate is told: ``security.certificate_expiry_monitor``, with Tyk's keys and defaults."""

from __future__ import annotations

from pydantic import Field

from gateway.config.kinds import Count, Section

_DAYS, _CHECK, _EVENT = 30, 3600, 86400


class ExpiryMonitor(Section):
    """Every certificate that the gateway knows is watched, whoever shows it to whom. 0 is the default, as in Tyk."""

    warning_threshold_days: Count = Field(_DAYS, description="days before its end from which a certificate is told of")
    check_cooldown_seconds: Count = Field(_CHECK, description="time between two looks")
    event_cooldown_seconds: Count = Field(_EVENT, description="time after which a certificate is told of again")

    @property
    def threshold(self) -> int:
        """In seconds."""
        return (self.warning_threshold_days or _DAYS) * 86400

    @property
    def between_looks(self) -> int:
        """In seconds."""
        return self.check_cooldown_seconds or _CHECK

    @property
    def between_events(self) -> int:
        """In seconds."""
        return self.event_cooldown_seconds or _EVENT
