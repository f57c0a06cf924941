"""The main job, from a network in index notation to gradients that are derived, explained, run and verified.

    python examples/column_batch.py

The network is in column_batch.ixp. Every example of the batch is a column, as in `W1 @ X + b1[:, None]`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

import indexprop as ip

PARAMETERS = ["W1", "b1", "W2", "b2", "W3", "b3"]


def heading(text):
    print(f"\n--- {text} {'-' * (75 - len(text))}\n")


# Derive. One rule does it all: swap the operand and the output of a line.
net = ip.parse(Path(__file__).with_suffix(".ixp"))
grad = ip.gradient(net, of="L", wrt=PARAMETERS)
heading("1. The network, and its backward pass, derived: print(grad)")
print(grad)

# Explain. The story of dW3 has eight chapters; two of them say where its .T comes from.
heading('2. Why .T? From the story of dW3: print(ip.explain(grad, "W3"))')
story = ip.explain(grad, "W3")
print(replace(story, chapters=story.chapters[3:5]))

# Keep. This text is yours; it needs numpy and nothing else. Above the part shown stand its import and `sigmoid`.
heading('3. The same as numpy: from ip.source(grad, layout="column")')
text = ip.source(grad, layout="column")
print(text[text.index("def gradient") :], end="")

# Run. What is executed is that very text: `step.source`.
rng = np.random.default_rng(0)
sizes = {"i": 3, "h": 4, "g": 4, "o": 2, "b": 5}
shapes = {name: [sizes[index] for index in net.axes[name]] for name in net.input_names}
arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
step = ip.compile(grad, layout="column")
loss, grads = step(**arrays)
moved = {name: arrays[name] - 0.1 * grads[name] for name in PARAMETERS}
lower, _ = step(**arrays | moved)
heading("4. One step on random data: 3-4-4-2, batch 5")
print(f"L = {loss:.6f}; after a step of 0.1 along -gradient L = {lower:.6f}")
print("gradients:", ", ".join(f"{name} {grads[name].shape}" for name in PARAMETERS))

# Verify. On this data, and on data of other sizes: h and g are equal here, which can hide a wrong transpose.
heading('5. Is it right? print(ip.check(grad, layout="column", **arrays))')
report = ip.check(grad, layout="column", **arrays)
print(report)
others = [ip.check(grad, seed=seed) for seed in range(5)]
print(f"\nOn 5 draws of other sizes, all different: {sum(other.ok for other in others)} of 5 ok.")
for checked in (report, *others):
    checked.assert_ok()
