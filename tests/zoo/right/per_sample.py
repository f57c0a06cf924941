import numpy as np

x = np.random.randn(3)
t = np.random.randn(2)
W1 = np.random.randn(4, 3)
b1 = np.random.randn(4)
W2 = np.random.randn(2, 4)
b2 = np.random.randn(2)

z1 = W1.dot(x) + b1
a1 = np.tanh(z1)
y = W2.dot(a1) + b2
E = 0.5 * np.dot(y - t, y - t)

delta2 = y - t
dW2 = np.outer(delta2, a1)
db2 = delta2
delta1 = W2.T.dot(delta2) * (1 - a1 ** 2)
dW1 = np.outer(delta1, x)
db1 = delta1
