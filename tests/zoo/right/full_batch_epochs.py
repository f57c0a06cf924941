import numpy as np

X = np.random.randn(8, 3)
y = np.random.randn(8, 1)
W1 = np.random.randn(3, 5)
b1 = np.zeros((1, 5))
W2 = np.random.randn(5, 1)
b2 = np.zeros((1, 1))
lr = 0.1
for epoch in range(2):
    Z1 = X @ W1 + b1
    A1 = np.tanh(Z1)
    A2 = A1 @ W2 + b2
    loss = np.mean((A2 - y) ** 2)

    dA2 = 2 * (A2 - y) / len(y)
    dW2 = A1.T @ dA2
    db2 = dA2.sum(axis=0, keepdims=True)
    dA1 = dA2 @ W2.T
    dZ1 = dA1 * (1 - A1 ** 2)
    dW1 = X.T @ dZ1
    db1 = dZ1.sum(axis=0, keepdims=True)

    W2 -= lr * dW2
    b2 -= lr * db2
    W1 -= lr * dW1
    b1 -= lr * db1
