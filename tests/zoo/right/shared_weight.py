"""One matrix is used in two layers: its gradient has two parts."""
import numpy as np

X = np.random.randn(4, 6)
T = np.random.randn(4, 6)
W = np.random.randn(4, 4) * 0.5

H = np.tanh(W @ X)
Y = W @ H
L = 0.5 * np.sum((Y - T) ** 2) / X.shape[1]

dY = (Y - T) / X.shape[1]
dW = dY @ H.T
dH = W.T @ dY
dZ = dH * (1 - H ** 2)
dW += dZ @ X.T
