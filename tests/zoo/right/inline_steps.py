import numpy as np
# a class that names no gradient: it changes its weights at once, with the error turned round
class Network:
    def __init__(self, sizes, learning_rate):
        self.weights_hidden = np.random.randn(sizes[0], sizes[1])
        self.bias_hidden = np.zeros((1, sizes[1]))
        self.weights_output = np.random.randn(sizes[1], sizes[2])
        self.bias_output = np.zeros((1, sizes[2]))
        self.learning_rate = learning_rate

    def forward(self, X):
        self.hidden = 1 / (1 + np.exp(-(X.dot(self.weights_hidden) + self.bias_hidden)))
        self.output = 1 / (1 + np.exp(-(self.hidden.dot(self.weights_output) + self.bias_output)))
        return self.output

    def train(self, X, y):
        output_delta = (y - self.output) * self.output * (1 - self.output)
        hidden_delta = output_delta.dot(self.weights_output.T) * self.hidden * (1 - self.hidden)
        self.weights_output += self.learning_rate * self.hidden.T.dot(output_delta)
        self.bias_output += self.learning_rate * np.sum(output_delta, axis=0, keepdims=True)
        self.weights_hidden += self.learning_rate * X.T.dot(hidden_delta)
        self.bias_hidden += self.learning_rate * np.sum(hidden_delta, axis=0, keepdims=True)

X = np.random.randn(6, 3)
y = np.random.rand(6, 2)
net = Network((3, 4, 2), 0.5)
for epoch in range(2):
    output = net.forward(X)
    loss = 0.5 * np.sum((y - output) ** 2)
    net.train(X, y)
