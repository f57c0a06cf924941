import contextvars

import numpy as np

dtype = np.dtype("float64")


def workspace():
    """Buffers for one call at a time, and the function: h=4, i=3, b=5, g=6, o=2; float64."""
    Z1 = np.empty((4, 5), dtype)  # h b
    b1_ = np.empty((4, 5), dtype)  # h b
    b1__T = b1_.T
    H1 = Z1
    quiet = contextvars.Context()
    quiet.run(np.seterr, over="ignore")
    k3 = np.array(1.0, dtype)
    Z2 = np.empty((6, 5), dtype)  # g b
    b2_ = np.empty((6, 5), dtype)  # g b
    b2__T = b2_.T
    H2 = Z2
    Y = np.empty((2, 5), dtype)  # o b
    b3_ = np.empty((2, 5), dtype)  # o b
    b3__T = b3_.T
    L_part = Y
    L_part_stack = L_part.reshape(10)
    k7 = np.array(0.2, dtype)
    dY = L_part
    H2_T = H2.T
    ones_5 = np.ones(5, dtype)
    dH2 = b2_.reshape(6, 5)  # g b
    dZ2 = np.empty((6, 5), dtype)  # g b
    H1_T = H1.T
    dH1 = b1_.reshape(4, 5)  # h b
    dZ1 = np.empty((4, 5), dtype)  # h b

    def gradient(W1, X, b1, W2, b2, W3, b3, T):
        # Z1 = W1 @ X + b1[:, None]  # h b
        W1.dot(X, Z1)
        b1__T[...] = b1
        np.add(Z1, b1_, Z1)
        # H1 = sigmoid(Z1)  # h b
        np.negative(Z1, H1)
        quiet.run(np.exp, H1, H1)
        np.add(k3, H1, H1)
        np.divide(k3, H1, H1)
        # Z2 = W2 @ H1 + b2[:, None]  # g b
        W2.dot(H1, Z2)
        b2__T[...] = b2
        np.add(Z2, b2_, Z2)
        # H2 = sigmoid(Z2)  # g b
        np.negative(Z2, H2)
        quiet.run(np.exp, H2, H2)
        np.add(k3, H2, H2)
        np.divide(k3, H2, H2)
        # Y = W3 @ H2 + b3[:, None]  # o b
        W3.dot(H2, Y)
        b3__T[...] = b3
        np.add(Y, b3_, Y)
        # L = ((Y - T)**2).sum() / (2 * n_b)
        np.subtract(Y, T, L_part)
        L_part_ = L_part_stack.dot(L_part_stack)
        L = 0.1 * L_part_
        # dT = -(Y - T) / n_b  # o b
        np.multiply(k7, L_part, dY)
        dT = np.negative(dY)
        # dY = (Y - T) / n_b  # o b
        # dW3 = dY @ H2.T  # o g
        dW3 = dY.dot(H2_T)
        # db3 = dY.sum(axis=1)  # o
        db3 = dY.dot(ones_5)
        # dH2 = W3.T @ dY  # g b
        W3.T.dot(dY, dH2)
        # dZ2 = dH2 * H2 * (1 - H2)  # g b
        np.subtract(k3, H2, dZ2)
        np.multiply(dH2, dZ2, dZ2)
        np.multiply(H2, dZ2, dZ2)
        # dW2 = dZ2 @ H1.T  # g h
        dW2 = dZ2.dot(H1_T)
        # db2 = dZ2.sum(axis=1)  # g
        db2 = dZ2.dot(ones_5)
        # dH1 = W2.T @ dZ2  # h b
        W2.T.dot(dZ2, dH1)
        # dZ1 = dH1 * H1 * (1 - H1)  # h b
        np.subtract(k3, H1, dZ1)
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

    return gradient, [Z1, b1_, Z2, b2_, Y, b3_, dZ2, dZ1]
