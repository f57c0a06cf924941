import numpy as np


def sigmoid(x):
    """1 / (1 + exp(-x)); exp only ever sees -|x|, so nothing overflows."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def gradient(*, W1, X, b1, W2, b2, W3, b3, T):
    # W1: h i, X: i b, b1: h, W2: g h, b2: g, W3: o g, b3: o, T: o b
    n_b = X.shape[1]  # |b|
    Z1 = np.einsum("hi,ib->hb", W1, X) + b1[:, None]  # h b
    H1 = sigmoid(Z1)  # h b
    Z2 = np.einsum("gh,hb->gb", W2, H1) + b2[:, None]  # g b
    H2 = sigmoid(Z2)  # g b
    Y = np.einsum("og,gb->ob", W3, H2) + b3[:, None]  # o b
    L = np.einsum("ob->", (Y - T)**2) / (2 * n_b)
    dY = (Y - T) / n_b  # o b
    dW3 = np.einsum("ob,gb->og", dY, H2)  # o g
    db3 = np.einsum("ob->o", dY)  # o
    dH2 = np.einsum("og,ob->gb", W3, dY)  # g b
    dZ2 = np.einsum("gb,gb->gb", dH2, H2 * (1 - H2))  # g b
    dW2 = np.einsum("gb,hb->gh", dZ2, H1)  # g h
    db2 = np.einsum("gb->g", dZ2)  # g
    dH1 = np.einsum("gh,gb->hb", W2, dZ2)  # h b
    dZ1 = np.einsum("hb,hb->hb", dH1, H1 * (1 - H1))  # h b
    dW1 = np.einsum("hb,ib->hi", dZ1, X)  # h i
    dX = np.einsum("hi,hb->ib", W1, dZ1)  # i b
    db1 = np.einsum("hb->h", dZ1)  # h
    return L, {
        "W1": dW1, "X": dX, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3,
        "b3": db3,
    }
