"""The code that runs in Lambda: one module for each function, and the runtime library that they use."""
