import numpy as np
class MLP:
    def __init__(self, sizes):
        self.W = [np.random.randn(a, b) * 0.3 for a, b in zip(sizes[:-1], sizes[1:])]
        self.b = [np.zeros(b) for b in sizes[1:]]
    def forward(self, x):
        self.a = [x]
        for W, b in zip(self.W, self.b):
            self.a.append(np.tanh(self.a[-1] @ W + b))
        return self.a[-1]
    def backward(self, y):
        n = y.shape[0]
        dW = [None] * len(self.W)
        db = [None] * len(self.b)
        delta = (self.a[-1] - y) # wrong: activation derivative forgotten
        for l in reversed(range(len(self.W))):
            dW[l] = self.a[l].T @ delta / n
            db[l] = delta.mean(axis=0)
            delta = (delta @ self.W[l].T) * (1 - self.a[l] ** 2)
        return dW, db
net = MLP([3, 5, 2])
X = np.random.randn(7, 3); Y = np.random.randn(7, 2)
out = net.forward(X)
loss = np.sum((out - Y) ** 2) / (2 * len(X))
dW, db = net.backward(Y)
