"""The torch engine: readable modules and autograd, on any device and with any optimiser of torch."""
