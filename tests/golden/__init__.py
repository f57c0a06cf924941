"""Texts for people, kept as files: what changes in them is read before it is accepted.

`python -m tests.golden` writes the files again; look at the difference before you commit it.
"""

from collections.abc import Callable
from pathlib import Path

import indexprop as ip
from indexprop import diagrams, exercises, listing, pages

HERE = Path(__file__).parent

NET = """
    Z1[h,b] = W1[h,i] X[i,b] + b1[h]
    H1[h,b] = sigmoid(Z1[h,b])
    Z2[g,b] = W2[g,h] H1[h,b] + b2[g]
    H2[g,b] = sigmoid(Z2[g,b])
    Y[o,b]  = W3[o,g] H2[g,b] + b3[o]
    L       = sum[o,b]((Y[o,b] - T[o,b])^2) / (2 |b|)
"""

SOFTMAX = """
    batch b
    Z[b,k] = X[b,i] W[i,k] + c[k]
    P[b,k] = exp(Z[b,k]) / sum[j](exp(Z[b,j]))
    L      = -sum[b,k](T[b,k] log(P[b,k])) / |b|
"""

CLASSIFIER = """
    batch b
    Z[b,k] = X[b,i] W[i,k] + c[k]
    P[b,k] = softmax[k](Z[b,k])
    L      = -sum[b,k](T[b,k] log(P[b,k])) / |b|
"""

CONVOLUTION = """
    input X[b,c,i]
    Y[b,o,p] = W[o,c,r] X[b,c,(2*p+r-1)?] where |p| = (|i| + 2 - |r|) // 2 + 1
"""

ATTENTION = """
    batch b
    S[b,h,q,k] = Q[b,h,q,d] K[b,h,k,d] / sqrt(|d|)
    P[b,h,q,k] = softmax[k](S[b,h,q,k])
    O[b,h,q,v] = P[b,h,q,k] V[b,h,k,v]
"""


def network() -> ip.Gradient:
    """The gradients of a network of three layers, in the order that the documentation uses."""
    return ip.gradient(ip.parse(NET), of="L", wrt=["W1", "b1", "W2", "b2", "W3", "b3"])


def softmax() -> ip.Gradient:
    return ip.gradient(ip.parse(SOFTMAX), of="L", wrt=["X", "W", "c"])


def classifier() -> ip.Gradient:
    """Softmax, as a function over an index, and cross entropy."""
    return ip.gradient(ip.parse(CLASSIFIER), of="L", wrt=["W", "c"])


GOLDEN: dict[str, Callable[[], str]] = {
    "network.txt": lambda: listing.table(network()),
    "softmax.txt": lambda: listing.table(softmax()),
    "dW3.txt": lambda: str(ip.explain(network(), "W3")),
    "dW3.tex": lambda: str(ip.explain(network(), "W3", form="latex")),
    "dZ2.txt": lambda: str(ip.explain(network(), "Z2")),
    "classifier.txt": lambda: listing.table(classifier()),
    "classifier_dZ.txt": lambda: str(ip.explain(classifier(), "Z")),
    "convolution_dX.txt": lambda: str(ip.explain(ip.vjp(ip.parse(CONVOLUTION)), "X")),
    "convolution_torch.txt": lambda: ip.source(ip.vjp(ip.parse(CONVOLUTION)), dialect="torch").rstrip(),
    "convolution_jax.txt": lambda: ip.source(
        ip.vjp(ip.parse(CONVOLUTION)), {"X": "b i c", "W": "r c o"}, dialect="jax"
    ).rstrip(),
    "attention_dK.txt": lambda: str(ip.explain(ip.vjp(ip.parse(ATTENTION)), "K")),
    "dW3.md": lambda: str(ip.explain(network(), "W3", form="markdown")),
    "db3.txt": lambda: str(ip.explain(network(), "b3")),
    "dW3.html": lambda: pages.story_html(ip.explain(network(), "W3"), network().program.indices),
    "dW3_swap.svg": lambda: diagrams.swap(network().backward[1], network()),
    "dZ2_step.svg": lambda: diagrams.step(network().backward[4], network().program),
    "network_flow.svg": lambda: diagrams.flow(network()),
    "exercise.txt": lambda: str(exercises.exercise(network())),
    "answers.txt": lambda: exercises.exercise(network()).answers,
    "column_batch_plan.txt": lambda: str(
        ip.compile(network(), "column").at({"i": 3, "h": 4, "g": 6, "o": 2, "b": 5}).plan
    ),
    "dP_exp.txt": lambda: str(ip.explain(softmax(), "P_exp")),
}


def write() -> None:
    """Writes every file again."""
    for name, text in GOLDEN.items():
        (HERE / name).write_text(text() + "\n", encoding="utf-8", newline="\n")
