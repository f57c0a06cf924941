"""A two-layer classifier with softmax, cross entropy and weight decay, batch first."""
import numpy as np

N, D, H, C = 6, 4, 5, 3
reg = 0.1

X = np.random.randn(N, D)
y = np.eye(C)[np.random.randint(0, C, N)]
W1 = 0.1 * np.random.randn(D, H)
b1 = np.zeros(H)
W2 = 0.1 * np.random.randn(H, C)
b2 = np.zeros(C)

# forward
z1 = X.dot(W1) + b1
h1 = np.maximum(0, z1)
scores = h1.dot(W2) + b2
shifted = scores - np.max(scores, axis=1, keepdims=True)
exp_scores = np.exp(shifted)
probs = exp_scores / np.sum(exp_scores, axis=1, keepdims=True)
data_loss = -np.sum(y * np.log(probs)) / N
reg_loss = 0.5 * reg * np.sum(W1 * W1) + 0.5 * reg * np.sum(W2 * W2)
loss = data_loss + reg_loss

# backward
dscores = (probs - y) / N
dW2 = np.dot(h1.T, dscores)
db2 = np.sum(dscores, axis=0)
dh1 = np.dot(dscores, W2.T)
dz1 = dh1 * (z1 > 0)
dW1 = np.dot(X.T, dz1)
db1 = np.sum(dz1, axis=0)
dW2 += reg * W2
dW1 += reg * W1
