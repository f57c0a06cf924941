import numpy as np

X = np.random.randn(6, 3)
Y = np.random.randn(6, 2)
W1 = np.random.randn(3, 5)
W2 = np.random.randn(5, 2)
keep = 0.8
mask = (np.random.rand(6, 5) < keep) / keep
learning_rate = 0.01

hidden = np.tanh(X @ W1)
dropped = hidden * mask
out = dropped @ W2
loss = np.square(out - Y).mean()

grad_out = 2.0 * (out - Y) / Y.size
grad_W2 = dropped.T @ grad_out
grad_dropped = grad_out @ W2.T
grad_hidden = grad_dropped * mask
grad_W1 = X.T @ (grad_hidden * (1 - hidden ** 2))

W1 -= learning_rate * grad_W1
W2 -= learning_rate * grad_W2
