import numpy as np
def softmax(s):
    e = np.exp(s - np.max(s, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)
n, m, d = 4, 6, 3
Q = np.random.randn(n, d); K = np.random.randn(m, d); V = np.random.randn(m, d)
G = np.random.randn(n, d)
S = np.matmul(Q, K.T) / np.sqrt(d)
A = softmax(S)
O = np.matmul(A, V)
loss = np.sum(G * O)
dO = G
dV = np.matmul(A.T, dO)
dA = np.matmul(dO, V.T)
dS = A * (dA - np.sum(A * dA, axis=-1, keepdims=True)) / np.sqrt(d)
dQ = np.matmul(dS, K)
dK = np.matmul(dS, Q.T) if False else np.matmul(dS.T, Q) / np.sqrt(d) # wrong: wrong size in the factor
