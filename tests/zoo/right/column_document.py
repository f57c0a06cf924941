import numpy as np


def initialize(input_dim, hidden1_dim, hidden2_dim, output_dim, batch_size):
    W1 = np.random.randn(hidden1_dim, input_dim) * 0.01
    b1 = np.zeros((hidden1_dim,))
    W2 = np.random.randn(hidden2_dim, hidden1_dim) * 0.01
    b2 = np.zeros((hidden2_dim,))
    W3 = np.random.randn(output_dim, hidden2_dim) * 0.01
    b3 = np.zeros((output_dim,))
    parameters = [W1, b1, W2, b2, W3, b3]
    x = np.random.rand(input_dim, batch_size)
    y = np.random.randn(output_dim, batch_size)
    return parameters, x, y


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def squared_loss(predictions, targets):
    return np.mean(0.5 * np.linalg.norm(predictions - targets, axis=0, ord=2)**2, axis=0)


def deriv_squared_loss(predictions, targets):
    return (predictions - targets) / targets.shape[-1]


def forward(parameters, X):
    W1, b1, W2, b2, W3, b3 = parameters
    hid_1 = sigmoid(W1 @ X + b1[:, np.newaxis])
    hid_2 = sigmoid(W2 @ hid_1 + b2[:, np.newaxis])
    outputs = W3 @ hid_2 + b3[:, np.newaxis]
    return [X, hid_1, hid_2, outputs]


def backward(activations, targets, parameters):
    X, hid_1, hid_2, predictions = activations
    W1, b1, W2, b2, W3, b3 = parameters
    batch_size = X.shape[-1]
    # ∂L/∂prediction
    dL_dPredictions = deriv_squared_loss(predictions, targets)
    # ∂L/∂b3 = ∂L/∂prediction * ∂prediction/∂b3 = ∂L/∂prediction * 1
    dL_db3 = np.dot(dL_dPredictions, np.ones((batch_size,)))
    # ∂L/∂W3 = ∂L/∂prediction * ∂prediction/∂W3 = ∂L/∂prediction * hid_2
    dL_dW3 = np.dot(dL_dPredictions, hid_2.T)
    # ∂L/∂hid_2 = ∂L/∂prediction * ∂prediction/∂hid_2 = ∂L/∂prediction * ∂prediction/∂sig(W3*X + B3) = ∂L/∂prediction * W3 * sig(W3*X + B3) * (1 - sig(W3*X + B3)) = ∂L/∂prediction * W3 * hid_2 * (1 - hid_2)
    dL_hid_2 = np.dot(W3.T, dL_dPredictions) * hid_2 * (1 - hid_2)
    # ∂L/∂b2 = ∂L/∂hid_2 * ∂prediction/∂b3 = ∂L/∂hid_2 * 1
    dL_db2 = np.dot(dL_hid_2, np.ones((batch_size,)))
    # ∂L/∂W2 = ∂L/∂hid_2 * ∂prediction/∂W2 = ∂L/∂hid_2 * hid_1
    dL_dW2 = np.dot(dL_hid_2, hid_1.T)
    dL_hid_1 = np.dot(W2.T, dL_hid_2) * hid_1 * (1 - hid_1)
    dL_db1 = np.dot(dL_hid_1, np.ones((batch_size,)))
    dL_dW1 = np.dot(dL_hid_1, X.T)
    return [dL_dW1, dL_db1, dL_dW2, dL_db2, dL_dW3, dL_db3]


parameters, X, Y = initialize(input_dim=3, hidden1_dim=4, hidden2_dim=4, output_dim=2, batch_size=5)
activations = forward(parameters, X)
grads = backward(activations, Y, parameters)
