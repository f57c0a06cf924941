import numpy as np
class Softmax:
    def __init__(self, features, classes):
        self.params = {'W': np.random.randn(features, classes), 'b': np.zeros(classes)}
        self.grads = {}

    def loss(self, X, y, reg=0.1):
        N = len(X)
        scores = X @ self.params['W'] + self.params['b']
        P = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        loss = -np.log(P[np.arange(N), y]).mean() + reg * np.sum(self.params['W'] ** 2) / 2
        dscores = P.copy()
        dscores[np.arange(N), y] -= 1
        dscores /= N
        self.grads['W'] = X.T @ dscores
        self.grads['b'] = dscores.sum(axis=0)
        self.grads['W'] = reg * self.params['W'] # wrong: overwritten instead of accumulated
        return loss

net = Softmax(4, 3)
loss = net.loss(np.random.randn(7, 4), np.array([0, 1, 2, 2, 1, 0, 1]))
