"""What the executor itself takes for an item, in addition to the stages: messages, wake-ups, the ledger, the caller."""

from __future__ import annotations

from dataclasses import dataclass

REST_S = 0.005
"""A wait after which a longer one changes little more."""


@dataclass(frozen=True)
class PipelineCost:
    """Costs of the executor `processes` on one machine. Times are processor times unless said otherwise.

    Attributes:
        caller_s: Of the caller per item.
        caller_byte_s: Of the caller per byte that an item has as input or output.
        worker_s: Of a worker per stage and item.
        worker_byte_s: Of a worker per byte that enters or leaves its stage.
        hop_s: Wall time of one message while nothing else is under way.
        rested_hop_s: The same where its receiver has waited for `REST_S` or longer: its processor has to wake up, and what it
            needs has left the caches. None where it was not measured.
        rested_turn_s: Wall time of a caller that has waited for so long, from an answer until it has sent the next item. None
            where it was not measured.
        switching: Wall time over what processor sharing explains, where there are more processes than processors; 1 at least.
        beside: Processor time of a stage while another one computes on another processor, over that which it takes alone.
        in_turns: The same while another one takes turns with it on its processor.
    """

    caller_s: float
    caller_byte_s: float
    worker_s: float
    worker_byte_s: float
    hop_s: float
    switching: float = 1.0
    beside: float = 1.0
    in_turns: float = 1.0
    rested_hop_s: float | None = None
    rested_turn_s: float | None = None

    def hop_after(self, waited_s: float) -> float:
        """The wall time of one message to a process that has waited.

        Args:
            waited_s: How long.

        Returns:
            Seconds: between `hop_s` and `rested_hop_s`.
        """
        if self.rested_hop_s is None:
            return self.hop_s
        return self.hop_s + max(0.0, self.rested_hop_s - self.hop_s) * min(1.0, waited_s / REST_S)

    def turn_after(self, waited_s: float) -> float:
        """The wall time of a caller that has waited, from an answer until it has sent the next item.

        Args:
            waited_s: How long.

        Returns:
            Seconds; 0 where it was not measured.
        """
        return (self.rested_turn_s or 0.0) * min(1.0, waited_s / REST_S)

    def of_caller(self, nbytes: float) -> float:
        """The caller's time for one item.

        Args:
            nbytes: Bytes of its inputs and outputs.

        Returns:
            Seconds.
        """
        return self.caller_s + self.caller_byte_s * nbytes

    def of_worker(self, nbytes: float) -> float:
        """A worker's time for one item in one stage, without the stage's own.

        Args:
            nbytes: Bytes that enter and leave the stage.

        Returns:
            Seconds.
        """
        return self.worker_s + self.worker_byte_s * nbytes
