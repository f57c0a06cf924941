import numpy as np
X = np.random.randn(9, 4); Y = np.random.randn(9, 2)
W1 = np.random.randn(4, 6); W2 = np.random.randn(6, 2)
Z = X @ W1
S = 1 / (1 + np.exp(-Z))
H = Z * S
P = H @ W2
loss = np.mean(np.sum((P - Y) ** 2, axis=1))
n = len(X)
dP = 2 * (P - Y) / n
dW2 = H.T @ dP
swish_grad = S + H * (1 - H) # wrong: derivative of the wrong function
dZ = (dP @ W2.T) * swish_grad
dW1 = X.T @ dZ
