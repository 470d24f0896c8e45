"""One network trained by C++, many optimiser steps in one call."""
