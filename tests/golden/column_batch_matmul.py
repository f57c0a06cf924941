import numpy as np


def sigmoid(x):
    """1 / (1 + exp(-x)); exp only ever sees -|x|, so nothing overflows."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def gradient(*, W1, X, b1, W2, b2, W3, b3, T):
    # W1: h i, X: i b, b1: h, W2: g h, b2: g, W3: o g, b3: o, T: o b
    n_b = X.shape[1]  # |b|
    Z1 = W1 @ X + b1[:, None]  # h b
    H1 = sigmoid(Z1)  # h b
    Z2 = W2 @ H1 + b2[:, None]  # g b
    H2 = sigmoid(Z2)  # g b
    Y = W3 @ H2 + b3[:, None]  # o b
    L = ((Y - T)**2).sum() / (2 * n_b)
    dY = (Y - T) / n_b  # o b
    dW3 = dY @ H2.T  # o g
    db3 = dY.sum(axis=1)  # o
    dH2 = W3.T @ dY  # g b
    dZ2 = dH2 * H2 * (1 - H2)  # g b
    dW2 = dZ2 @ H1.T  # g h
    db2 = dZ2.sum(axis=1)  # g
    dH1 = W2.T @ dZ2  # h b
    dZ1 = dH1 * H1 * (1 - H1)  # h b
    dW1 = dZ1 @ X.T  # h i
    dX = W1.T @ dZ1  # i b
    db1 = dZ1.sum(axis=1)  # h
    return L, {
        "W1": dW1, "X": dX, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3,
        "b3": db3,
    }
