import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


T, S, d_k, d_v = 4, 5, 3, 2
Q = np.random.randn(T, d_k)
K = np.random.randn(S, d_k)
V = np.random.randn(S, d_v)
Y = np.random.randn(T, d_v)

scores = Q @ K.T / np.sqrt(d_k)
A = softmax(scores)
O = A @ V
loss = 0.5 * np.sum((O - Y) ** 2)

dO = O - Y
dV = A.T @ dO
dA = dO @ V.T
dscores = A * (dA - np.sum(dA * A, axis=-1, keepdims=True))
dQ = dscores @ K / np.sqrt(d_k)
dK = dscores.T @ Q / np.sqrt(d_k)
