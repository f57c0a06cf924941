import numpy as np

# Initialization
m = 4

X = np.array([[0.05, 0.10], [0.15, 0.20], [0.25, 0.30], [0.35, 0.40]]) # (4, 2)
y = np.array([[0.01], [0.02], [0.03], [0.04]]) # (4, 1)

W_1 = np.array([[0.15, 0.20, 0.25], [0.30, 0.35, 0.40]]) # (2, 3)
b_1 = np.array([[0, 0, 0]]) # (1, 3)
W_2 = np.array([[0.45], [0.50], [0.55]]) # (3, 1)
b_2 = np.array([[0]]) # (1, 1)

def sigmoid(X):
    return 1 / (1 + np.exp(-X))

Z_1 = np.dot(X, W_1) + b_1
Z_1.shape, Z_1

A_1 = sigmoid(Z_1)
A_1.shape, A_1

Z_2 = np.dot(A_1, W_2) + b_2
Z_2.shape, Z_2

A_2 = Z_2  # Linear activation for output layer
A_2.shape, A_2

# Loss (MSE)
L = 1/2 * np.mean((A_2 - y) ** 2)
L

d_A2 = (A_2 - y) / m
d_A2.shape, d_A2

d_W2 = np.dot(A_1.T, d_A2)
d_W2.shape, d_W2

d_b2 = np.sum(d_A2, axis=0, keepdims=True)
d_b2.shape, d_b2

d_A1 = d_A2 @ W_2.T
d_A1.shape, d_A1

d_Z1 = d_A1 * (A_1 * (1 - A_1))
d_Z1.shape, d_Z1

d_W1 = X.T @ d_Z1
d_W1.shape, d_W1

d_b1 = np.sum(d_Z1, axis=0, keepdims=True)
d_b1.shape, d_b1
