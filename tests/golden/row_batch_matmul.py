import numpy as np


def sigmoid(x):
    """1 / (1 + exp(-x)); exp only ever sees -|x|, so nothing overflows."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def gradient(*, X, W1, b1, W2, b2, T):
    # X: b i, W1: i h, b1: 1 h, W2: h o, b2: 1 o, T: b o
    n_b = X.shape[0]  # |b|
    Z1 = X @ W1 + b1  # b h
    H1 = sigmoid(Z1)  # b h
    Y = H1 @ W2 + b2  # b o
    L = ((Y - T)**2).sum() / (2 * n_b)
    dY = (Y - T) / n_b  # b o
    dW2 = H1.T @ dY  # h o
    db2 = dY.sum(axis=0, keepdims=True)  # 1 o
    dH1 = dY @ W2.T  # b h
    dZ1 = dH1 * H1 * (1 - H1)  # b h
    dX = dZ1 @ W1.T  # b i
    dW1 = X.T @ dZ1  # i h
    db1 = dZ1.sum(axis=0, keepdims=True)  # 1 h
    return L, {"X": dX, "W1": dW1, "b1": db1, "W2": dW2, "b2": db2}
