import numpy as np
def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
N, D, C = 12, 5, 4
X = np.random.randn(N, D)
T = np.eye(C)[np.random.randint(C, size=N)]
W = np.random.randn(D, C); b = np.random.randn(C)
P = softmax(X @ W + b)
L = -(T * np.log(P)).sum() / N
dP = P - T # wrong: softmax with cross entropy counted twice
dZ = P * (dP - (dP * P).sum(1, keepdims=True)) / N
dW = X.T @ dZ
db = dZ.sum(0)
