import numpy as np


class Linear:
    def __init__(self, n_in, n_out):
        self.W = np.random.randn(n_in, n_out) * 0.1
        self.b = np.zeros(n_out)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, grad):
        self.dW = self.x.T @ grad
        self.db = grad.sum(axis=0)
        return grad @ self.W.T


class ReLU:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, grad):
        return grad * self.mask


class MSE:
    def forward(self, pred, target):
        self.diff = pred - target
        return np.mean(self.diff ** 2)

    def backward(self):
        return 2 * self.diff / self.diff.size


layers = [Linear(3, 5), ReLU(), Linear(5, 2)]
criterion = MSE()
x = np.random.randn(4, 3)
target = np.random.randn(4, 2)

out = x
for layer in layers:
    out = layer.forward(out)
loss = criterion.forward(out, target)

grad = criterion.backward()
for layer in reversed(layers):
    grad = layer.backward(grad)
dW1, db1 = layers[0].dW, layers[0].db
dW2, db2 = layers[2].dW, layers[2].db
W1, b1, W2, b2 = layers[0].W, layers[0].b, layers[2].W, layers[2].b
