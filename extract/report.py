"""What a job did, and where its time went."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionReport:
    """One run of one job. Its representations are complete."""

    name: str
    """Readable name of the job."""
    ids: tuple[str, ...]
    """Representations, all complete now."""
    n_samples: int
    """Images of the split."""
    device: str = ""
    """Where the network ran; empty where nothing had to run."""
    n_forwarded: int = 0
    """Images that ran: 0 where everything was there."""
    n_chunks: int = 0
    """Chunks that were written."""
    masked: tuple[str, ...] = ()
    """Ids of the samples that ran but could not be decoded."""
    decode_s: float = 0.0
    """Seconds spent decoding, summed over the threads."""
    forward_s: float = 0.0
    """Seconds in which the calling thread ran the network or waited for its results."""
    write_s: float = 0.0
    """Seconds spent checking, assembling and writing, in the writer's thread."""
    waiting_s: float = 0.0
    """Seconds in which the calling thread waited for pixels, or for room in the writer's queue."""
    elapsed_s: float = 0.0
    """Seconds of the pipeline, without loading the network."""

    @property
    def images_per_s(self) -> float:
        """Images that ran, per second of the pipeline."""
        return self.n_forwarded / self.elapsed_s if self.elapsed_s > 0 else 0.0
