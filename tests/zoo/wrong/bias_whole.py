import numpy as np
np.random.seed(0)
n_x, n_h, n_y, m = 4, 6, 2, 10
X = np.random.randn(n_x, m); Y = np.random.randn(n_y, m)
W1 = np.random.randn(n_h, n_x) * .1; b1 = np.zeros((n_h, 1))
W2 = np.random.randn(n_y, n_h) * .1; b2 = np.zeros((n_y, 1))
Z1 = np.dot(W1, X) + b1
A1 = np.maximum(Z1, 0)
Z2 = np.dot(W2, A1) + b2
cost = np.sum((Z2 - Y) ** 2) / (2 * m)
dZ2 = (Z2 - Y) / m
dW2 = np.dot(dZ2, A1.T)
db2 = np.sum(dZ2, axis=1, keepdims=True)
dZ1 = np.dot(W2.T, dZ2)
dZ1[Z1 <= 0] = 0
dW1 = np.dot(dZ1, X.T)
db1 = np.sum(dZ1, keepdims=True) # wrong: summed over the wrong indices
