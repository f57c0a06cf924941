import numpy as np
class Dense:
    def __init__(self, n_in, n_out):
        self.W = np.random.randn(n_in, n_out) * 0.4
        self.b = np.random.randn(n_out) * 0.1
    def forward(self, x):
        self.x = x
        return x @ self.W + self.b
    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return dout @ self.W.T
class Tanh:
    def forward(self, x):
        self.out = np.tanh(x)
        return self.out
    def backward(self, dout):
        return dout * (1 - self.out ** 2)
class Sigmoid:
    def forward(self, x):
        self.out = 1 / (1 + np.exp(-x))
        return self.out
    def backward(self, dout):
        return dout * (1.0 - self.out) * self.out
layers = [Dense(4, 6), Tanh(), Dense(6, 5), Sigmoid(), Dense(5, 2)]
x = np.random.randn(7, 4)
t = np.random.randn(7, 2)
out = x
for layer in layers:
    out = layer.forward(out)
loss = np.mean(np.sum((out - t) ** 2, axis=1))
dout = 2 * (out - t) / x.shape[0]
for layer in reversed(layers):
    dout = layer.backward(dout)
