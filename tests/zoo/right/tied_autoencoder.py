import numpy as np
# autoencoder with tied weights
def tanh_prime(a): return 1 - a**2
D, K, B = 6, 3, 4
X = np.random.randn(B, D)
W = np.random.randn(D, K)
c = np.random.randn(K)
d = np.random.randn(D)
H = np.tanh(X @ W + c)
R = H @ W.T + d
L = ((R - X)**2).sum() / (2*B)
dR = (R - X) / B
dH = dR @ W
dA = dH * tanh_prime(H)
dW = X.T @ dA + dR.T @ H
dc = dA.sum(axis=0)
dd = dR.sum(axis=0)
