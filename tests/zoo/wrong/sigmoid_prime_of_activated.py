import numpy as np

def sigmoid(x):
    return 1 / (1 + np.exp(-x))

def dsigmoid(x):
    return sigmoid(x) * (1 - sigmoid(x))

inputs = np.random.rand(6, 4)
targets = np.random.rand(6, 2)
w_ih = np.random.randn(4, 3)
w_ho = np.random.randn(3, 2)
hidden = sigmoid(inputs @ w_ih)
outputs = sigmoid(hidden @ w_ho)
loss = 0.5 * ((targets - outputs) ** 2).sum()
delta_o = (outputs - targets) * dsigmoid(outputs) # wrong: derivative of the wrong function
delta_h = (delta_o @ w_ho.T) * dsigmoid(hidden) # wrong: derivative of the wrong function
d_w_ho = hidden.T @ delta_o
d_w_ih = inputs.T @ delta_h
