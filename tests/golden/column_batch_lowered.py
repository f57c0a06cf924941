import numpy as np

dtype = np.dtype("float64")


def workspace():
    """Buffers for one call at a time, and the function: h=4, i=3, b=5, g=6, o=2; float64."""
    Z1 = np.empty((4, 5), dtype)  # h b
    H1 = Z1
    k1 = np.array(1.0, dtype)
    Z2 = np.empty((6, 5), dtype)  # g b
    H2 = Z2
    Y = np.empty((2, 5), dtype)  # o b
    L_part = Y
    L_part_stack = L_part.reshape(10)
    k3 = np.array(0.1, dtype)
    k4 = np.array(0.2, dtype)
    dY = L_part
    H2_T = H2.T
    ones_5 = np.ones(5, dtype)
    dH2 = np.empty((6, 5), dtype)  # g b
    dZ2 = np.empty((6, 5), dtype)  # g b
    H1_T = H1.T
    dH1 = np.empty((4, 5), dtype)  # h b
    dZ1 = np.empty((4, 5), dtype)  # h b

    def gradient(W1, X, b1, W2, b2, W3, b3, T):
        # Z1 = W1 @ X + b1[:, None]  # h b
        W1.dot(X, Z1)
        np.add(Z1, b1[:, None], Z1)
        # H1 = sigmoid(Z1)  # h b
        np.negative(Z1, H1)
        with np.errstate(over="ignore"):
            np.exp(H1, H1)
        np.add(k1, H1, H1)
        np.reciprocal(H1, H1)
        # Z2 = W2 @ H1 + b2[:, None]  # g b
        W2.dot(H1, Z2)
        np.add(Z2, b2[:, None], Z2)
        # H2 = sigmoid(Z2)  # g b
        np.negative(Z2, H2)
        with np.errstate(over="ignore"):
            np.exp(H2, H2)
        np.add(k1, H2, H2)
        np.reciprocal(H2, H2)
        # Y = W3 @ H2 + b3[:, None]  # o b
        W3.dot(H2, Y)
        np.add(Y, b3[:, None], Y)
        # L = ((Y - T)**2).sum() / (2 * n_b)
        np.subtract(Y, T, L_part)
        L_part_ = L_part_stack.dot(L_part_stack)
        L = np.multiply(k3, L_part_)
        # dT = -(Y - T) / n_b  # o b
        np.multiply(k4, L_part, dY)
        dT = np.negative(dY)
        # dY = (Y - T) / n_b  # o b
        # dW3 = dY @ H2.T  # o g
        dW3 = dY.dot(H2_T)
        # db3 = dY.sum(axis=1)  # o
        db3 = dY.dot(ones_5)
        # dH2 = W3.T @ dY  # g b
        W3.T.dot(dY, dH2)
        # dZ2 = dH2 * H2 * (1 - H2)  # g b
        np.subtract(k1, H2, dZ2)
        np.multiply(dH2, dZ2, dZ2)
        np.multiply(H2, dZ2, dZ2)
        # dW2 = dZ2 @ H1.T  # g h
        dW2 = dZ2.dot(H1_T)
        # db2 = dZ2.sum(axis=1)  # g
        db2 = dZ2.dot(ones_5)
        # dH1 = W2.T @ dZ2  # h b
        W2.T.dot(dZ2, dH1)
        # dZ1 = dH1 * H1 * (1 - H1)  # h b
        np.subtract(k1, H1, dZ1)
        np.multiply(dH1, dZ1, dZ1)
        np.multiply(H1, dZ1, dZ1)
        # dW1 = dZ1 @ X.T  # h i
        dW1 = dZ1.dot(X.T)
        # dX = W1.T @ dZ1  # i b
        dX = W1.T.dot(dZ1)
        # db1 = dZ1.sum(axis=1)  # h
        db1 = dZ1.dot(ones_5)
        return L, {
            "W1": dW1, "X": dX, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3,
            "b3": db3, "T": dT,
        }

    return gradient, [Z1, Z2, Y, dH2, dZ2, dH1, dZ1]
