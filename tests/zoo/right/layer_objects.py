import numpy as np

class Dense:
    def __init__(self, n_in, n_out):
        self.weights = np.random.randn(n_in, n_out) * np.sqrt(2.0 / n_in)
        self.bias = np.zeros((1, n_out))
    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.bias
        return self.output
    def backward(self, dvalues):
        self.dweights = np.dot(self.inputs.T, dvalues)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = np.dot(dvalues, self.weights.T)
        return self.dinputs

class Sigmoid:
    def forward(self, inputs):
        self.output = 1 / (1 + np.exp(-inputs))
        return self.output
    def backward(self, dvalues):
        self.dinputs = dvalues * (1 - self.output) * self.output
        return self.dinputs

class MSELoss:
    def forward(self, y_pred, y_true):
        self.loss = np.mean(np.mean((y_true - y_pred)**2, axis=-1))
        return self.loss
    def backward(self, y_pred, y_true):
        samples = len(y_pred)
        outputs = len(y_pred[0])
        return -2 * (y_true - y_pred) / outputs / samples

X = np.random.randn(9, 4)
y = np.random.randn(9, 2)
layers = [Dense(4, 6), Sigmoid(), Dense(6, 2)]
out = X
for layer in layers:
    out = layer.forward(out)
criterion = MSELoss()
loss = criterion.forward(out, y)
grad = criterion.backward(out, y)
for layer in reversed(layers):
    grad = layer.backward(grad)
