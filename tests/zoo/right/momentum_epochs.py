import numpy as np
# column-wise, momentum and several epochs in functions
def init():
    return {'W': np.random.randn(2, 3), 'b': np.zeros((2, 1))}
def step(p, v, X, Y, lr=0.1, beta=0.9):
    m = X.shape[1]
    Z = p['W'] @ X + p['b']
    A = np.tanh(Z)
    loss = np.sum((A - Y)**2) / (2*m)
    dZ = (A - Y) * (1 - A**2) / m
    dW = dZ @ X.T
    db = dZ.sum(axis=1, keepdims=True)
    v['W'] = beta * v['W'] + (1 - beta) * dW
    v['b'] = beta * v['b'] + (1 - beta) * db
    p['W'] = p['W'] - lr * v['W']
    p['b'] = p['b'] - lr * v['b']
    return loss
X = np.random.randn(3, 5); Y = np.random.randn(2, 5)
p = init()
v = {'W': np.zeros_like(p['W']), 'b': np.zeros_like(p['b'])}
losses = []
for epoch in range(3):
    losses.append(step(p, v, X, Y))
