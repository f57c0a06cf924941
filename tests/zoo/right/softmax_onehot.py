import numpy as np
np.random.seed(42)

def one_hot(labels, n):
    return np.eye(n)[labels]

def softmax(logits):
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    exps = np.exp(shifted)
    return exps / np.sum(exps, axis=1, keepdims=True)

n_samples, n_features, n_hidden, n_classes = 20, 6, 8, 3
X = np.random.randn(n_samples, n_features)
labels = np.random.randint(0, n_classes, n_samples)
Y = one_hot(labels, n_classes)

W1 = 0.1 * np.random.randn(n_features, n_hidden)
b1 = np.zeros(n_hidden)
W2 = 0.1 * np.random.randn(n_hidden, n_classes)
b2 = np.zeros(n_classes)

h_pre = X.dot(W1) + b1
h = np.maximum(h_pre, 0)
logits = h.dot(W2) + b2
probs = softmax(logits)
loss = -np.sum(Y * np.log(probs)) / n_samples

dlogits = (probs - Y) / n_samples
dW2 = h.T.dot(dlogits)
db2 = dlogits.sum(axis=0)
dh = dlogits.dot(W2.T)
dh_pre = dh * (h_pre > 0)
dW1 = X.T.dot(dh_pre)
db1 = dh_pre.sum(axis=0)
