"""What can go wrong between here and an agent of Consul, and what to do about it."""

from __future__ import annotations

__all__ = ["ConsulError"]


class ConsulError(Exception):
    """The agent could not be asked, or refused. Stays inside this plugin; what leaves it is an error of elanus.

    :param agent: who was asked.
    :param text: what happened.
    :param status: that of the HTTP answer; 0 when there was none.
    """

    def __init__(self, agent: str, text: str, status: int = 0) -> None:
        super().__init__(agent, text, status)
        self.agent = agent
        self.text = text
        self.status = status

    def __str__(self) -> str:
        return f"consul at {self.agent}: {self.text}"

    @property
    def unreachable(self) -> bool:
        """Whether another agent may do better."""
        return self.status == 0 or self.status >= 500

    @property
    def unknown(self) -> bool:
        """Whether the agent does not know the service or check that it was asked about."""
        # Consul answers 404; before v1.14 it was 500 for checks and services alike.
        return self.status == 404 or (self.status == 500 and "unknown" in self.text.lower())

    @property
    def hint(self) -> str:
        """The next step for whoever reads it."""
        if self.status in (401, 403):
            return "Check the option 'token': it needs service:write to register, service:read and node:read to look up"
        lowered = self.text.lower()
        if "ssl" in lowered or "certificate" in lowered:
            return "Check the options 'tls', 'verify', 'ca_file', 'cert_file' and 'key_file'"
        if "path to datacenter" in lowered:
            return "Check the option 'datacenter'"
        if self.status == 400:
            return "Check the options 'tls' and 'datacenter', and what is announced"
        if "leader" in lowered:
            return "Wait for Consul's servers to elect a leader"
        if self.unreachable:
            return "Check that a Consul agent runs there, and whether it wants TLS"
        return "Look into Consul's log"
