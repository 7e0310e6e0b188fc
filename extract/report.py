"""What a group of jobs did, and where its time went."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionReport:
    """One run of the jobs of a group, or of a shard of them."""

    name: str
    """Readable names of the jobs."""
    ids: tuple[str, ...]
    """Representations: complete now, or, of a shard, as far as it goes."""
    n_samples: int
    """Images of the split."""
    complete: bool = True
    """Whether all of them are readable; False where other shards have still to do their part."""
    n_missing: int = 0
    """Chunks that other shards have still to write."""
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    """Ids planned in float16 to those that took their place in float32, because values were beyond float16."""
    device: str = ""
    """Where the networks ran; empty where nothing had to run."""
    batch_size: int = 0
    """Images of a batch; the smallest, where networks have different ones."""
    n_decoded: int = 0
    """Images that were decoded."""
    n_forwarded: int = 0
    """Images that went through a network: 0 where everything was there."""
    n_chunks: int = 0
    """Chunks that were written."""
    masked: tuple[str, ...] = ()
    """Ids of the samples that ran but could not be decoded."""
    decode_s: float = 0.0
    """Seconds spent reading and decoding, summed over the workers."""
    transform_s: float = 0.0
    """Seconds spent making pixels of images, summed over the workers."""
    forward_s: float = 0.0
    """Seconds in which the calling thread ran networks or waited for their results."""
    write_s: float = 0.0
    """Seconds spent checking, assembling and writing, in the writer's thread."""
    waiting_s: float = 0.0
    """Seconds in which the calling thread waited for pixels, or for room in the writer's queue."""
    elapsed_s: float = 0.0
    """Seconds of the pipeline, without loading networks."""

    @property
    def images_per_s(self) -> float:
        """Images that went through a network, per second of the pipeline."""
        return self.n_forwarded / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def stages(self) -> str:
        """Where the time went, in one line."""
        return (
            f"{self.n_forwarded:,} images at {self.images_per_s:,.0f}/s in {self.elapsed_s:.1f} s: "
            f"forward {self.forward_s:.1f} s, waiting {self.waiting_s:.1f} s; beside it decode {self.decode_s:.1f} s, "
            f"transform {self.transform_s:.1f} s, write {self.write_s:.1f} s (batches of {self.batch_size} on "
            f"{self.device})"
        )
