"""A script that decodes in processes and then sleeps: tells the ids of the processes, so that a test can kill it."""

import sys
import time

from extract import DatasetSpec, make_transform, open_samples
from extract._batches import Batch, Step
from extract._decoder import Decoder

if __name__ == "__main__":
    samples = open_samples(DatasetSpec(name="d", source="sklearn:digits", splits={"train": "train"}), "train")
    transform = make_transform("test-v1", input_size=32, mean=(0.5,), std=(0.5,))
    steps = [Step(batch=Batch(start=i, stop=i + 8), views=(0,), jobs=((0,),)) for i in range(0, 400, 8)]
    with Decoder(samples, transform, n_workers=2, mask=False, pinned=False, processes=True) as decoder:
        for _ in decoder.decode(steps):
            sys.stdout.write(" ".join(map(str, decoder._pool._processes)) + "\n")
            sys.stdout.flush()
            time.sleep(600)
