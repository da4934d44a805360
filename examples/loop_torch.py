"""Trains in a plain PyTorch loop: an nn.Module, and a loss of keras_rmi.

The network learns to find handwritten digits in cluttered scenes. Printed for
each epoch: the loss, and the mean IoU on scenes that it has not seen, with
void pixels left out. Nothing is written.
"""

import sys

import loops

loops.use_backend("torch")  # before Keras is imported

import choices
import torch
from scenes import CLASS_NAMES
from torch import nn


class Network(nn.Module):
    """An encoder-decoder: images (N,3,H,W) to logits (N,C,H,W)."""

    def __init__(self, num_classes, widths=(16, 32, 64, 128)):
        super().__init__()
        pairs = list(zip((3, *widths), widths))
        self.down = nn.ModuleList(convolve(a, b, 2) for a, b in pairs)
        self.up = nn.ModuleList(convolve(b + a, a) for a, b in pairs[1:])
        self.logits = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, images):
        maps = [images / 127.5 - 1]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        x = maps.pop()
        for layer, skip in zip(reversed(self.up), reversed(maps)):
            x = nn.functional.interpolate(x, skip.shape[-2:])
            x = layer(torch.cat([x, skip], dim=1))
        x, size = self.logits(x), images.shape[-2:]
        return nn.functional.interpolate(x, size, mode="bilinear")


def convolve(inputs, outputs, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def main(arguments=None):
    parser = loops.parser(__doc__)
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument(
        "--autocast",
        action="store_true",
        help="the network in bfloat16; the loss is in float32 as always",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the loss, which takes a C++ compiler and half a minute",
    )
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    model = Network(len(CLASS_NAMES)).to(options.device)
    # Labels keep their form, (N,H,W); void is 255, as in every loss of choices.
    loss = choices.make(options.loss, axis=1)
    if options.compile:
        loss = torch.compile(loss, fullgraph=True)
    optimizer = torch.optim.Adam(model.parameters(), options.learning_rate)

    def tensor(array):
        return torch.from_numpy(array).to(options.device)

    def step(images, labels):
        model.train()
        with torch.autocast(options.device, torch.bfloat16, options.autocast):
            logits = model(tensor(images).movedim(-1, 1))
        value = loss(tensor(labels), logits)
        optimizer.zero_grad()
        value.backward()
        # The gradient of a log-determinant grows as the fit improves.
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return value.item()

    @torch.inference_mode()
    def predict(images):
        model.eval()
        logits = model(tensor(images).movedim(-1, 1))
        return logits.argmax(dim=1).cpu().numpy()

    loops.run(options, step, predict)


if __name__ == "__main__":
    sys.exit(main())
