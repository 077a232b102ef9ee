"""The store in a training loop of your own: a linear classifier on the teacher's soft labels of the student's features.

    python examples/own_loop.py play/run/store.zarr

Letters: B batch, C classes, D embedding.
"""

import sys

import torch
from torch.nn.functional import kl_div

from fdbpl.cache_layout.reader import open_reader
from fdbpl.pipeline.library.store_views import StoreViews

EPOCHS, BATCH = 20, 64


def main(store: str) -> None:
    with open_reader(store) as reader:
        (features,) = (name for name in reader.arrays if name.startswith("student/"))
        width = reader.shape(features)[-1]
    views = StoreViews(store, arrays=(features,))
    head = torch.nn.Linear(width, len(views.class_names))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for number in range(EPOCHS):
        total = 0.0
        epoch = views.epoch(number, batch_size=BATCH, policy="random")
        for batch in epoch:
            said_BC = head(batch[features].float()).log_softmax(-1)
            loss = kl_div(said_BC, batch["logits"].log_softmax(-1), log_target=True, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if number in (0, EPOCHS - 1):
            print(f"epoch {number}: {total / len(epoch):.3f}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
