import numpy as np
def forward(X, W, V):
    Z = X.dot(W)
    A = np.tanh(Z)
    S = A.dot(V)
    Yhat = 1 / (1 + np.exp(-S))
    return Z, A, S, Yhat
def backward(X, Y, W, V, A, Yhat):
    m = X.shape[0]
    dYhat = (Yhat - Y) / m
    dS = Yhat * (1 - Yhat) # wrong: upstream gradient dropped
    dV = A.T.dot(dS)
    dA = dS.dot(V.T)
    dZ = dA * (1 - A ** 2)
    dW = X.T.dot(dZ)
    return dW, dV
X = np.random.randn(5, 3); Y = np.random.rand(5, 2)
W = np.random.randn(3, 4); V = np.random.randn(4, 2)
Z, A, S, Yhat = forward(X, W, V)
loss = np.sum((Yhat - Y) ** 2) / (2 * X.shape[0])
dW, dV = backward(X, Y, W, V, A, Yhat)
