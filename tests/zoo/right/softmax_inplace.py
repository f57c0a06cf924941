import numpy as np
N = 5
X = np.random.randn(N, 4)
T = np.eye(3)[[0, 1, 2, 1, 0]]
W = np.random.randn(4, 3)
S = X @ W
S = S - S.max(axis=1, keepdims=True)
P = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
L = -np.mean(np.sum(T * np.log(P + 1e-9), axis=1))
dS = P.copy()
dS -= T
dS /= N
dW = X.T @ dS
