import numpy as np
# all targets are one-hot, so the sum of a row of T is one
X = np.random.randn(6, 4)
T = np.eye(3)[np.array([0, 1, 2, 0, 1, 2])]
W1 = np.random.randn(4, 5) * 0.01
W2 = np.random.randn(5, 3) * 0.01
H = 1 / (1 + np.exp(-(X @ W1)))
Y = H @ W2
L = 0.5 * np.sum((Y - T) ** 2)
dY = Y - T
dW2 = H.T @ dY
dH = dY @ W2.T
dW1 = X.T @ (dH * H) # wrong: derivative of the wrong function
