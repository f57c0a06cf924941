import numpy as np

def sigmoid(z): return 1/(1+np.exp(-z))

def train_step(w, b, X, y, lr):
    n = len(y)
    p = sigmoid(X @ w + b)
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    grad_w = X.T @ (p - y) / n
    grad_b = (p - y).mean()
    w = w - lr * grad_w
    b = b - lr * grad_b
    return w, b, loss

X = np.random.randn(30, 4)
y = (X[:, 0] > 0).astype(float)
w = np.zeros(4)
b = 0.0
for epoch in range(5):
    w, b, loss = train_step(w, b, X, y, 0.5)
