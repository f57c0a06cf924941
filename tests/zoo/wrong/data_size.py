import numpy as np
def cross_entropy(a, y):
    return -np.mean(np.sum(y * np.log(a), axis=1))
def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
x = np.random.randn(10, 5)
y = np.eye(3)[np.random.randint(0, 3, 10)]
W = np.random.randn(5, 3)
b = np.zeros((1, 3))
a = softmax(x @ W + b)
loss = cross_entropy(a, y)
dz = (a - y) / x.shape[1] # wrong: wrong size in the factor
dW = x.T @ dz
db = dz.sum(axis=0, keepdims=True)
